"""The style of all figures, which is the same everywhere: settings, font, colours, text that fits its place.

matplotlib reads the user's matplotlibrc, environment and installed fonts. While a figure is drawn and saved, this module
restores the shipped defaults. The font is the DejaVu Sans file inside matplotlib, under a separate family name, so that a
system font of the same name (another version, other glyph shapes) is never used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.text import Text

DPI = 150
FAMILY = "tmrepro-sans"
COLORMAP = "viridis"  # its luminance rises monotonically: it works in greyscale print and for colour-blind readers
INK = "#1a1a1a"
FAINT = "#595959"  # 7:1 on white: still legible when printed
BLUE = "#0072b2"  # Okabe and Ito's palette, safe for the colour-blind
ORANGE = "#d55e00"
STAR: dict[str, Any] = {
    "marker": "*",
    "markersize": 12,
    "markerfacecolor": "white",
    "markeredgecolor": INK,
    "markeredgewidth": 0.9,
    "linestyle": "",
}

Place: TypeAlias = tuple[float, float, float, float]  # left, bottom, width, height as shares of the figure

_BODY_POINTS = 9.0
_SMALLEST_POINTS = 6.0
_MARGIN = 0.25
_CATEGORIES = {
    "LM": "LM (local minimum)",
    "GM": "GM (global minimum)",
    "TM": "TM (true minimum)",
    "none": "not a minimum",
    "collapsed": "not a minimum (collapsed)",
    "diverged": "not a minimum (diverged)",
}
_NOT_OURS = frozenset({"backend", "backend_fallback", "interactive", "toolbar"})  # settings of the reader's windows
_FONT_FILES = {"normal": "DejaVuSans.ttf", "bold": "DejaVuSans-Bold.ttf"}
_SETTINGS = {
    "font.family": [FAMILY],
    "font.size": _BODY_POINTS,
    "axes.linewidth": 0.7,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "hatch.linewidth": 0.6,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "pdf.fonttype": 42,
    "svg.hashsalt": "tmrepro",
    "pdf.compression": 6,
}


@contextmanager
def isolated_settings() -> Iterator[None]:
    """Apply matplotlib's shipped defaults and this project's settings; restore the reader's settings afterwards."""
    _register_font()
    settings: dict[Any, Any] = {key: mpl.rcParamsDefault[key] for key in mpl.rcParamsDefault if key not in _NOT_OURS}
    with mpl.rc_context(settings | _SETTINGS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure of that many inches, drawn by Agg. Call it under `isolated_settings`."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def place(figure: Figure, left: float, bottom: float, width: float, height: float) -> Place:
    """Return the place of axes, given in inches."""
    across, up = figure.get_size_inches()
    return left / across, bottom / up, width / across, height / up


def write(figure: Figure, left: float, bottom: float, words: str, **look: Any) -> Text:
    """Write a line of text at a place in inches, without markup. It is shortened to end inside the figure."""
    across, up = figure.get_size_inches()
    return fit_text(figure.text(left / across, bottom / up, words, parse_math=False, **look), across - left - _MARGIN)


def category_words(category: str) -> str:
    """Return the text for the category of a point."""
    return _CATEGORIES.get(category, category)


def fit_text(text: Text, width: float) -> Text:
    """Make the text at most `width` inches wide: first with smaller letters, then with an ellipsis."""
    figure = text.get_figure(root=True)
    limit = width * (figure.dpi if figure is not None else DPI)

    def too_wide() -> bool:
        return bool(text.get_window_extent().width > limit)

    points = float(text.get_fontsize())
    while too_wide() and points > _SMALLEST_POINTS:
        points = max(_SMALLEST_POINTS, points - 0.5)
        text.set_fontsize(points)
    words = text.get_text()
    while too_wide() and len(words) > 1:
        words = words[:-1]
        text.set_text(words.rstrip() + "…")
    return text


@cache
def _register_font() -> None:
    """Add the bundled font files under our family name; `cache` makes this happen once per process."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    for weight, name in _FONT_FILES.items():
        entry = font_manager.FontEntry(
            fname=str(folder / name),
            name=FAMILY,
            style="normal",
            variant="normal",
            weight=700 if weight == "bold" else 400,
            stretch="normal",
            size="scalable",
        )
        font_manager.fontManager.ttflist.append(entry)
