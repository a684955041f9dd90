"""All replicates of one surface on a sheet: a column per training seed, a row per network and pair of directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from tmrepro.reporting.figures.contours import draw_contours
from tmrepro.reporting.figures.panel import Panel, drawn_part
from tmrepro.reporting.figures.scale import LossScale, ScaleAsked, loss_scale
from tmrepro.reporting.figures.style import COLORMAP, FAINT, STAR, isolated_settings, new_figure, place, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_COLUMNS, MOST_PAIRS = 12, 4
MOST_CELL_POINTS = 101
_HEADER, _FOOTER, _LEFT, _RIGHT = 0.85, 0.15, 1.3, 1.0
_CELL, _GAP, _TITLE, _BETWEEN = 1.3, 0.12, 0.22, 0.12  # inches; _TITLE above the first row of a network
_LINES = 8


@dataclass(frozen=True)
class ReplicateSheet:
    """The replicates of one network: `pairs` has, for each pair of directions, a panel for each training seed.

    `names` and `categories` are those of the trainings. A panel is None if the network failed and has no surface.
    """

    model: str
    names: Sequence[str]
    categories: Sequence[str]
    pairs: Mapping[str, Sequence[Panel | None]]

    def shown(self) -> dict[str, list[Panel | None]]:
        """Return the part that is drawn."""
        return {name: [*panels[:MOST_COLUMNS]] for name, panels in [*self.pairs.items()][:MOST_PAIRS]}


def draw_replicates(sheets: Sequence[ReplicateSheet], *, title: str, scale: ScaleAsked, words: str) -> Figure:
    """Draw small contour maps of all replicates. Those of one network share a colour scale.

    Args:
        sheets: one for each network, from the top.
        title: the figure's heading.
        scale: `linear`, `log`, or `auto` by the range of all losses.
        words: the line below the heading.
    """
    everything = [panel.surface.loss for sheet in sheets for panel in _panels(sheet)]
    kind = loss_scale(everything, kind=scale).kind
    columns = max(len(row) for sheet in sheets for row in sheet.shown().values())
    heights = [_TITLE + len(sheet.shown()) * (_CELL + _GAP) + _BETWEEN for sheet in sheets]
    width = _LEFT + columns * (_CELL + _GAP) + _RIGHT
    height = _HEADER + sum(heights) + _FOOTER
    with isolated_settings():
        figure = new_figure(width, height)
        write(figure, 0.3, height - 0.38, title, fontsize=14, weight="bold")
        write(figure, 0.3, height - 0.64, "   ·   ".join([words, *_left_out(sheets)]), color=FAINT)
        top = height - _HEADER
        for sheet, extent in zip(sheets, heights, strict=True):
            _draw_sheet(figure, sheet, top=top, kind=kind)
            top -= extent
    return figure


def _draw_sheet(figure: Figure, sheet: ReplicateSheet, *, top: float, kind: ScaleAsked) -> None:
    scale = loss_scale([panel.surface.loss for panel in _panels(sheet)], kind=kind)
    rows = sheet.shown()
    write(figure, 0.3, top - _TITLE - 0.25, sheet.model, fontsize=11, weight="bold")
    for i, (name, panels) in enumerate(rows.items()):
        bottom = top - _TITLE - (i + 1) * (_CELL + _GAP) + _GAP
        write(figure, 0.3, bottom + _CELL - 0.45, name, fontsize=8, color=FAINT)
        for j, panel in enumerate(panels):
            left = _LEFT + j * (_CELL + _GAP)
            if i == 0:
                words = f"{sheet.names[j]} · {sheet.categories[j]}"
                write(figure, left, bottom + _CELL + 0.05, words, fontsize=7)
            axes = figure.add_axes(place(figure, left, bottom, _CELL, _CELL), label=f"{name} {sheet.names[j]}")
            axes.set(xticks=[], yticks=[])
            _draw_cell(axes, panel, scale)
    extent = len(rows) * (_CELL + _GAP) - _GAP
    _draw_bar(
        figure,
        scale,
        left=_LEFT + max(map(len, rows.values())) * (_CELL + _GAP),
        bottom=top - _TITLE - extent,
        height=extent,
    )


def _draw_cell(axes: Axes, panel: Panel | None, scale: LossScale) -> None:
    axes.patch.set(facecolor="#e6e6e6", hatch="////", edgecolor="#9a9a9a")
    if panel is None:
        axes.text(0.5, 0.5, "no surface", transform=axes.transAxes, ha="center", va="center", fontsize=8)
        return
    part = drawn_part(panel, most=MOST_CELL_POINTS)
    axes.set(xlim=(part.a.min(), part.a.max()), ylim=(part.b.min(), part.b.max()))
    heights, home = (
        scale.heights(part.loss),
        (float(panel.surface.a[panel.home[0]]), float(panel.surface.b[panel.home[1]])),
    )
    if np.isfinite(heights).any():
        levels = dict.fromkeys(scale.levels(np.array(scale.limits), count=_LINES), "")
        low, high = np.nanmin(heights), np.nanmax(heights)
        inside = {level: words for level, words in levels.items() if low < level < high}
        draw_contours(axes, part.a, part.b, heights, levels=inside, norm=scale.norm, keep_clear=home)
    axes.plot(*home, clip_on=False, zorder=7, **(STAR | {"markersize": 8}))


def _draw_bar(figure: Figure, scale: LossScale, *, left: float, bottom: float, height: float) -> None:
    if scale.low is None or scale.high is None:
        return
    axes = figure.add_axes(place(figure, left, bottom, 0.12, height), label="colour bar")
    bar = figure.colorbar(ScalarMappable(norm=scale.norm, cmap=COLORMAP), cax=axes)
    ticks = scale.levels(np.array([scale.low, scale.high]), count=_LINES) or [scale.low]
    bar.set_ticks(ticks, labels=scale.tick_labels(ticks))
    bar.ax.tick_params(labelsize=7)


def _panels(sheet: ReplicateSheet) -> list[Panel]:
    return [panel for row in sheet.shown().values() for panel in row if panel is not None]


def _left_out(sheets: Sequence[ReplicateSheet]) -> list[str]:
    columns = max(len(sheet.names) for sheet in sheets)
    pairs = max(len(sheet.pairs) for sheet in sheets)
    return [
        f"the first {shown} of {there} {what}"
        for shown, there, what in (
            (MOST_COLUMNS, columns, "training seeds"),
            (MOST_PAIRS, pairs, "pairs of directions"),
        )
        if there > shown
    ]
