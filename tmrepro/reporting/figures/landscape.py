"""The paper's Figure 1: a row per network, its loss surface as labelled contours and in three dimensions.

All positions are fixed, in inches: with an automatic layout, the length of a label would move the rows out of line. A row's
contour lines are round values of its own range even if all rows share the colours, so that lines also show rows with small
losses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from tmrepro.records import loss_bound
from tmrepro.reporting.figures.contour_map import draw_map
from tmrepro.reporting.figures.overlay import path_words
from tmrepro.reporting.figures.panel import MOST_MAP_POINTS, Panel, thinning
from tmrepro.reporting.figures.scale import LossScale, ScaleAsked, loss_label, loss_scale
from tmrepro.reporting.figures.solid import draw_solid
from tmrepro.reporting.figures.style import COLORMAP, FAINT, category_words, isolated_settings, new_figure, place, write

WIDTH = 10.6
_HEADER, _FOOTER, _ROW = 0.85, 0.15, 4.9
_LEFT, _BOX, _BOX_BOTTOM = 0.8, 3.35, 0.6
_SOLID_LEFT, _SOLID_WIDTH, _SOLID_HEIGHT = 5.05, 4.2, 4.1
_BAR_LEFT, _BAR_WIDTH, _BAR_TICKS = 9.42, 0.17, 9
_LABELS = {"relabelled": "labels: the network's own at θ* (X̃)", "original": "labels: as given (X)"}


def draw_landscape(
    panels: Sequence[Panel],
    *,
    title: str,
    scale: ScaleAsked,
    shared: bool,
    directions: str,
    labels: str,
    unit: str = "nats",
) -> Figure:
    """Draw a row per network.

    Args:
        panels: the rows, from the top.
        title: the figure's heading.
        scale: `linear`, `log` for log10 of the loss (losses <= 0 at the smallest positive one), or `auto`: log if the largest
            loss of the figure is more than 100 times its least.
        shared: one colour scale and one height axis for all rows, or one for each.
        directions: a description of the directions.
        labels: the labels that the loss is computed with, as in the spec.
        unit: the unit of the losses.
    """
    together = loss_scale([panel.surface.loss for panel in panels], kind=scale, unit=unit)
    height = _HEADER + _FOOTER + _ROW * max(1, len(panels))
    with isolated_settings():
        figure = new_figure(WIDTH, height)
        write(figure, _LEFT, height - 0.38, title, fontsize=14, weight="bold")
        words = _facts(shared=shared, directions=directions, labels=labels)
        write(figure, _LEFT, height - 0.64, words, color=FAINT)
        for number, panel in enumerate(panels):
            bottom = height - _HEADER - _ROW * (number + 1)
            own = together if shared else loss_scale([panel.surface.loss], kind=together.kind, unit=unit)
            write(figure, _LEFT, bottom + _ROW - 0.26, _row_title(panel), fontsize=11, weight="bold")
            write(figure, _LEFT, bottom + _ROW - 0.46, _row_notes(panel, unit), fontsize=8, color=FAINT)
            draw_map(figure, place(figure, _LEFT, bottom + _BOX_BOTTOM, _BOX, _BOX), panel=panel, scale=own)
            solid = place(figure, _SOLID_LEFT, bottom + 0.2, _SOLID_WIDTH, _SOLID_HEIGHT)
            draw_solid(figure, solid, panel=panel, scale=own)
            if not shared:
                _draw_colour_bar(figure, own, bottom=bottom + _BOX_BOTTOM, height=_BOX)
        if shared and panels:
            _draw_colour_bar(figure, together, bottom=_FOOTER + _BOX_BOTTOM, height=_ROW * (len(panels) - 1) + _BOX)
    return figure


def _facts(*, shared: bool, directions: str, labels: str) -> str:
    scales = "one colour scale for all" if shared else "a colour scale for each network"
    return "   ·   ".join(["★ θ*", "loss at θ* + a δ̂ + b η̂", _LABELS.get(labels, labels), directions, scales])


def _row_title(panel: Panel) -> str:
    return f"{panel.model}  ·  {category_words(panel.category)}"


def _row_notes(panel: Panel, unit: str) -> str:
    loss, home = panel.surface.loss, float(panel.surface.loss[panel.home])
    finite = loss[np.isfinite(loss)]
    notes = [f"{loss.shape[0]} × {loss.shape[1]} points, {panel.facts.images} images"]
    notes.append(f"loss at θ* {loss_label(home)}{_after_number(unit)}" if np.isfinite(home) else "no finite loss at θ*")
    if finite.size:
        notes.append(f"from {loss_label(float(finite.min()))} to {loss_label(float(finite.max()))}")
        if home - float(finite.min()) > loss_bound(home):  # false for nan and for differences that may be rounding
            notes.append(f"lowest point {loss_label(home - float(finite.min()))} below θ*")
    notes += path_words(panel)
    if finite.size < loss.size:
        notes.append(f"hatched: loss not finite ({loss.size - finite.size} points)")
    step = max(thinning(size, most=MOST_MAP_POINTS) for size in loss.shape)
    if step > 1:
        notes.append(f"one point in {step} drawn per axis")
    return ";   ".join(notes)


def _after_number(unit: str) -> str:
    return f" {unit}" if unit == "nats" else f" ({unit})"


def _draw_colour_bar(figure: Figure, scale: LossScale, *, bottom: float, height: float) -> None:
    if scale.low is None:
        return
    axes = figure.add_axes(place(figure, _BAR_LEFT, bottom, _BAR_WIDTH, height), label="colour bar")
    bar = figure.colorbar(ScalarMappable(norm=scale.norm, cmap=COLORMAP), cax=axes)
    count = min(2 * _BAR_TICKS, round(_BAR_TICKS * height / _BOX))
    ticks = scale.levels(np.array([scale.low, scale.high]), count=count) or [scale.low]
    bar.set_ticks(ticks, labels=scale.tick_labels(ticks))
    bar.set_label(scale.label)
