"""The left half of a row: a surface seen from above, with axes that show the distance from theta*."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tmrepro.records import SurfaceFacts
from tmrepro.reporting.figures.contours import draw_contours
from tmrepro.reporting.figures.overlay import draw_over_map
from tmrepro.reporting.figures.panel import MOST_MAP_POINTS, Panel, drawn_part
from tmrepro.reporting.figures.scale import LossScale, loss_label
from tmrepro.reporting.figures.style import FAINT, STAR, Place

_LINES = 10
_UNIT_NORM = 1e-3  # a direction whose norm differs from 1 by at most this gives its axis the unit of distance


def draw_map(figure: Figure, place: Place, *, panel: Panel, scale: LossScale) -> Axes:
    """Draw the contours, a to the right and b upwards. Points without a finite loss are a hatched gap."""
    axes = figure.add_axes(place, label=f"map {panel.model}")
    fill_map(axes, panel=panel, scale=scale)
    _add_shares(axes, panel.facts)
    return axes


def fill_map(axes: Axes, *, panel: Panel, scale: LossScale, has_home: bool = True) -> None:
    """Draw the contours into the given `axes`, without the star if theta* is not a point (`has_home`)."""
    axes.patch.set(facecolor="#e6e6e6", hatch="////", edgecolor="#9a9a9a")
    part = drawn_part(panel, most=MOST_MAP_POINTS)
    axes.set(xlim=(part.a.min(), part.a.max()), ylim=(part.b.min(), part.b.max()))
    home = (float(panel.surface.a[panel.home[0]]), float(panel.surface.b[panel.home[1]]))
    heights = scale.heights(part.loss)
    if np.isfinite(heights).any():
        levels = scale.levels(heights, count=_LINES)
        names = dict(zip(levels, scale.tick_labels(levels), strict=True))
        draw_contours(axes, part.a, part.b, heights, levels=names, norm=scale.norm, keep_clear=home)
    else:
        white = {"facecolor": "white", "linewidth": 0}
        axes.text(0.5, 0.5, "no finite loss", transform=axes.transAxes, ha="center", bbox=white)
    draw_over_map(axes, panel)
    if has_home:
        axes.plot(*home, clip_on=False, zorder=7, **STAR)
    axes.set_xlabel(axis_label("a", "δ̂", norm=panel.facts.delta.norm))
    axes.set_ylabel(axis_label("b", "η̂", norm=panel.facts.eta.norm))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6))
        axis.set_tick_params(pad=6)  # room for the star in the corner


def axis_label(name: str, direction: str, *, norm: float) -> str:
    """Return the label of an axis. It is a distance in parameter space only if the direction has unit norm. nan: unknown."""
    if np.isnan(norm):
        return name
    if abs(norm - 1) <= _UNIT_NORM:
        return f"{name}: distance along {direction} in parameter space"
    return f"{name} (‖{direction}‖ = {norm:.4g})"


def _add_shares(axes: Axes, facts: SurfaceFacts) -> None:
    """Add the same distances as shares of ||theta*||: along a above the map, along b at its right."""
    if not (np.isfinite(facts.theta_norm) and facts.theta_norm > 0):
        return
    along_a, along_b = facts.delta.norm / facts.theta_norm, facts.eta.norm / facts.theta_norm
    for share, horizontal in ((along_a, True), (along_b, False)):
        if not (np.isfinite(share) and share > 0):
            continue
        to_and_from = (lambda x, s=share: np.asarray(x) * s, lambda x, s=share: np.asarray(x) / s)
        axis: Axis
        if horizontal:
            axis = axes.secondary_xaxis("top", functions=to_and_from).xaxis
        else:
            axis = axes.secondary_yaxis("right", functions=to_and_from).yaxis
        axis.set_major_locator(MaxNLocator(nbins=5))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{loss_label(round(100 * value, 9))}%"))
        axis.set_tick_params(labelsize=8, labelcolor=FAINT)
        axis.set_label_text("share of ‖θ*‖", fontsize=8, color=FAINT)
