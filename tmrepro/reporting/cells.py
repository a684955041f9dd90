"""Small tables and pictures for a notebook's cells. Every name and number is escaped, and no cell runs a script.

A run folder may be hostile. An unreadable figure is left out, because showing a result must not fail.
"""

from __future__ import annotations

import warnings
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image

from tmrepro.errors import ArtefactError
from tmrepro.records import Minimum
from tmrepro.spec.limits import FIGURE_BYTES, PICTURE_PIXELS
from tmrepro.store.atomic import read_bytes, safe_path
from tmrepro.store.minima import read_minimum
from tmrepro.store.statistics import read_statistics

MOST_ROWS = 12  # of a table in a cell
FIGURE_PIXELS = 560, 1120  # largest width and height of a figure in a cell; its file is larger
SHOWN_STATISTICS = ("loss_min", "loss_max", "half_rise_radius", "roughness", "convex_fraction", "error_over_bound")

_LEFT, _RIGHT = "text-align: left", "text-align: right"
_Statistics = Mapping[str, Mapping[str, Mapping[str, float | int | None]]]


def run_html(
    folder: Path, *, title: str, minima: Mapping[str, Minimum], statistics: _Statistics, lines: Sequence[str] = ()
) -> str:
    """Return the view of a run: categories of its networks, main statistics of its surfaces, and the figure of the first."""
    parts = [paragraph(title, strong=True), *(paragraph(line) for line in lines)]
    if minima:
        headings = ("network", "category", "epochs", "T*", "V", "V~", "accuracy")
        parts.append(table(headings, [_minimum_row(name, found) for name, found in minima.items()], text=2))
    rows = [
        (surface, model, *(number(values.get(name)) for name in SHOWN_STATISTICS))
        for surface, models in statistics.items()
        for model, values in models.items()
    ]
    if rows:
        parts.append(table(("surface", "network", *SHOWN_STATISTICS), rows, text=2))
    parts += [figure(folder, f"figures/{surface}.png") for surface in list(statistics)[:1]]
    return "<div>" + "".join(parts) + "</div>"


def folder_html(folder: Path, *, title: str, models: Sequence[str]) -> str:
    """Return `run_html` of a run folder. Files that are missing or invalid are left out."""
    minima: Mapping[str, Minimum] = {}
    statistics: _Statistics = {}
    lines = []
    try:
        minima = {name: read_minimum(folder, name) for name in models}
        statistics = read_statistics(folder)
    except ArtefactError as error:
        lines = [f"not all of it can be shown: {error}"]
    return run_html(folder, title=title, minima=minima, statistics=statistics, lines=lines)


def paragraph(text: str, *, strong: bool = False) -> str:
    """Return a line of text."""
    return f"<p><strong>{escape(text)}</strong></p>" if strong else f"<p>{escape(text)}</p>"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, text: int) -> str:
    """Return a table of the first rows, and how many more there are. The first `text` columns are words, all others numbers."""
    styles = [_LEFT if column < text else _RIGHT for column in range(len(headings))]
    shown = [_row("td", row, styles) for row in rows[:MOST_ROWS]]
    more = paragraph(f"{len(rows) - MOST_ROWS} more rows") if len(rows) > MOST_ROWS else ""
    return f"<table><thead>{_row('th', headings, styles)}</thead><tbody>{''.join(shown)}</tbody></table>{more}"


def figure(folder: Path, relative: str) -> str:
    """Return a reduced figure of a run; an empty string if it is missing or invalid."""
    try:
        content = read_bytes(safe_path(folder, relative), limit_bytes=FIGURE_BYTES, name=relative)
        small = b64encode(_smaller(content)).decode("ascii")
    except (ArtefactError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""
    return f'<img alt="{escape(relative)}" src="data:image/png;base64,{small}">{paragraph(str(folder / relative))}'


def number(value: float | None) -> str:
    """Return a number with four digits; a dash if it is undefined."""
    if value is None:
        return "\N{EN DASH}"
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _row(cell: str, values: Iterable[str], styles: Sequence[str]) -> str:
    cells = (f'<{cell} style="{style}">{escape(value)}</{cell}>' for value, style in zip(values, styles, strict=True))
    return f"<tr>{''.join(cells)}</tr>"


def _minimum_row(name: str, found: Minimum) -> tuple[str, ...]:
    losses = (found.train_loss_at_minimum, found.validation_loss, found.relabelled_loss)
    accuracy = number(None) if found.validation_accuracy is None else f"{found.validation_accuracy:.1%}"
    return (name, found.category, str(found.epochs), *(number(loss) for loss in losses), accuracy)


def _smaller(png: bytes) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # at the limit below
        picture = Image.open(BytesIO(png), formats=["PNG"])
        if picture.width * picture.height > PICTURE_PIXELS:
            raise ValueError("larger than any figure")
        shown = picture.convert("RGB")
    shown.thumbnail(FIGURE_PIXELS)
    buffer = BytesIO()
    shown.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
