"""The right half of a row: the same surface in three dimensions, seen from the corner that the paper's theta* is at."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import matplotlib as mpl
import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from tmrepro.reporting.figures.overlay import draw_over_solid
from tmrepro.reporting.figures.panel import MOST_SOLID_POINTS, Drawn, Panel, drawn_part
from tmrepro.reporting.figures.scale import LossScale
from tmrepro.reporting.figures.style import COLORMAP, STAR, Place

if TYPE_CHECKING:
    from mpl_toolkits.mplot3d.axes3d import Axes3D

_HEIGHT_TICKS = 6


def draw_solid(figure: Figure, place: Place, *, panel: Panel, scale: LossScale) -> Axes3D:
    """Draw the faces of the grid in the colours of the map. A face with a corner that is not finite is left out.

    The star is drawn over everything, since theta* of a centred grid may be hidden behind a hill.
    """
    label = f"solid {panel.model}"
    axes = cast("Axes3D", figure.add_axes(place, projection="3d", computed_zorder=False, label=label))
    fill_solid(axes, panel=panel, scale=scale)
    return axes


def fill_solid(axes: Axes3D, *, panel: Panel, scale: LossScale, has_home: bool = True) -> None:
    """Draw the surface into `axes`, without the star if theta* is not a point (`has_home`)."""
    axes.patch.set_visible(False)
    axes.view_init(elev=32, azim=-122)
    axes.set_box_aspect((1, 1, 0.72), zoom=0.92)
    part = drawn_part(panel, most=MOST_SOLID_POINTS)
    low, high = scale.limits
    axes.set(xlim=(part.a.min(), part.a.max()), ylim=(part.b.min(), part.b.max()), zlim=(low, high))
    faces = _faces(part, scale)
    if len(faces):
        colours = mpl.colormaps[COLORMAP](scale.norm(faces[:, :, 2].mean(axis=1)))
        edges = {"edgecolors": (1, 1, 1, 0.35), "linewidths": 0.25}
        axes.add_collection3d(Poly3DCollection(faces, facecolors=colours, zorder=1, **edges))
    else:
        axes.text2D(0.5, 0.5, "no finite loss", transform=axes.transAxes, ha="center")
    draw_over_solid(axes, panel, scale)
    at_minimum = float(scale.heights(panel.surface.loss[panel.home].reshape(1))[0])
    if has_home and np.isfinite(at_minimum):
        axes.plot(panel.surface.a[panel.home[0]], panel.surface.b[panel.home[1]], at_minimum, zorder=7, **STAR)
    _set_ticks(axes, scale)


def _set_ticks(axes: Axes3D, scale: LossScale) -> None:
    ticks = [] if scale.low is None else scale.levels(np.array(scale.limits), count=_HEIGHT_TICKS)
    axes.set_zticks(ticks, scale.tick_labels(ticks))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=5))
    axes.tick_params(labelsize=8, pad=1)
    axes.zaxis.set_tick_params(pad=6)
    axes.text2D(
        0.03, 0.79, f"loss ({scale.unit})", transform=axes.transAxes, fontsize=8
    )  # a label along z would overlap the map's
    axes.set_xlabel("a", labelpad=2)
    axes.set_ylabel("b", labelpad=2)


def _faces(part: Drawn, scale: LossScale) -> Float64[np.ndarray, "faces 4 3"]:
    x, y = np.meshgrid(part.a, part.b, indexing="ij")
    points = np.stack([x, y, scale.heights(part.loss)], axis=-1)
    corners = np.stack([points[:-1, :-1], points[1:, :-1], points[1:, 1:], points[:-1, 1:]], axis=2).reshape(-1, 4, 3)
    faces: Float64[np.ndarray, "faces 4 3"] = corners[np.isfinite(corners).all(axis=(1, 2))]
    return faces
