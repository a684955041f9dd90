"""Overlays of a surface: the path of training, and the other minima that define its plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64
from matplotlib import patheffects
from matplotlib.axes import Axes

from tmrepro.reporting.figures.panel import Panel
from tmrepro.reporting.figures.scale import LossScale, loss_label
from tmrepro.reporting.figures.style import INK, ORANGE

if TYPE_CHECKING:
    from mpl_toolkits.mplot3d.axes3d import Axes3D

_LINE: dict[str, Any] = {
    "color": ORANGE,
    "linewidth": 1.3,
    "marker": "o",
    "markersize": 2.4,
    "path_effects": [patheffects.Stroke(linewidth=2.6, foreground="white"), patheffects.Normal()],
}
_START: dict[str, Any] = {"marker": "o", "markersize": 6, "markerfacecolor": "white", "markeredgecolor": ORANGE}
_MARK: dict[str, Any] = {
    "marker": "D",
    "markersize": 7,
    "markerfacecolor": "white",
    "markeredgecolor": INK,
    "markeredgewidth": 0.9,
    "linestyle": "",
}


def draw_over_map(axes: Axes, panel: Panel) -> None:
    """Draw the path, with a circle at its start, and the other minima with their names, within the axes."""
    points = panel.path_points
    if len(points):
        axes.plot(points[:, 0], points[:, 1], zorder=5, label="path", **_LINE)
        axes.plot(*points[0], zorder=5.5, **_START)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for mark in panel.facts.marks:
        if not (left <= mark.a <= right and bottom <= mark.b <= top):
            continue
        axes.plot(mark.a, mark.b, zorder=6, **_MARK)
        on_the_left = mark.a < (left + right) / 2
        axes.annotate(
            mark.name,
            (mark.a, mark.b),
            xytext=(9 if on_the_left else -9, 0),
            textcoords="offset points",
            ha="left" if on_the_left else "right",
            va="center",
            fontsize=8,
            zorder=6,
            path_effects=[patheffects.withStroke(linewidth=2.5, foreground="white")],
        )


def draw_over_solid(axes: Axes3D, panel: Panel, scale: LossScale) -> None:
    """Draw the same on the surface in three dimensions, at the surface's height. Points outside the grid are left out."""
    points = panel.path_points
    if len(points):
        heights = _heights_at(panel, scale, points)
        axes.plot(points[:, 0], points[:, 1], heights, zorder=5, label="path", **_LINE)
        if np.isfinite(heights[0]):
            axes.plot(*points[0], heights[0], zorder=5.5, **_START)
    for mark in panel.facts.marks:
        height = float(_heights_at(panel, scale, np.array([[mark.a, mark.b]]))[0])
        if np.isfinite(height):
            axes.plot(mark.a, mark.b, height, zorder=6, **_MARK)


def path_words(panel: Panel) -> list[str]:
    """Return what a reader must know of the drawn path: its distance from the plane, and how many points are outside."""
    points = panel.path_points
    if not len(points):
        return []
    a, b = panel.surface.a, panel.surface.b
    inside = (points >= [a.min(), b.min()]).all(axis=1) & (points <= [a.max(), b.max()]).all(axis=1)
    farthest = max(place.distance for place in panel.path if place.distance is not None)
    words = [f"path of training from ○, up to {loss_label(farthest)} away from this plane"]
    if not inside.all():
        words.append(f"{len(points) - int(inside.sum())} of its {len(points)} points outside")
    return words


def _heights_at(panel: Panel, scale: LossScale, points: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, " n"]:
    """Return the height of the drawn surface at each point [n], by bilinear interpolation; nan outside of it."""
    a, b, heights = panel.surface.a, panel.surface.b, scale.heights(panel.surface.loss)
    found = np.full(len(points), np.nan)
    for index, (x, y) in enumerate(points):
        if a.min() <= x <= a.max() and b.min() <= y <= b.max():
            i, u = _cell(a, x)
            j, v = _cell(b, y)
            corners = heights[i : i + 2, j : j + 2]
            found[index] = np.array([1 - u, u]) @ corners @ np.array([1 - v, v])
    return found


def _cell(axis: Float64[np.ndarray, " K"], value: float) -> tuple[int, float]:
    """Return the index of the grid point before `value`, and the position between it and the next one, as a share."""
    index = min(max(int(np.searchsorted(axis, value, side="right")) - 1, 0), len(axis) - 2)
    return index, float((value - axis[index]) / (axis[index + 1] - axis[index]))
