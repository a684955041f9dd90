"""One surface or one line as a new figure, or in given axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tmrepro.reporting.figures.contour_map import fill_map
from tmrepro.reporting.figures.panel import Panel
from tmrepro.reporting.figures.scale import LossScale, ScaleKind, loss_label
from tmrepro.reporting.figures.solid import fill_solid
from tmrepro.reporting.figures.style import BLUE, COLORMAP, STAR, isolated_settings, new_figure, place, write

if TYPE_CHECKING:
    from mpl_toolkits.mplot3d.axes3d import Axes3D

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _SIDE = 5.8, 4.6, 0.85, 0.6, 3.6
_BAR_LEFT, _BAR_WIDTH, _TICKS = 4.7, 0.17, 9
_SOLID = (0.6, 0.2, 4.5, 4.0)
_TITLE_BELOW_TOP = 0.3
_FEW = 40  # with more points, markers would only thicken the line


def draw_single(
    panel: Panel, *, kind: Literal["contour", "solid"], scale: LossScale, has_home: bool, title: str, axes: Axes | None
) -> Figure:
    """Draw a surface from above or in three dimensions. `axes` of a solid are 3d. Return its figure."""
    with isolated_settings():
        drawn = axes if axes is not None else _new_axes(title, projection="3d" if kind == "solid" else None)
        figure = cast("Figure", drawn.get_figure(root=True))
        if kind == "solid":
            fill_solid(cast("Axes3D", drawn), panel=panel, scale=scale, has_home=has_home)
        else:
            fill_map(drawn, panel=panel, scale=scale, has_home=has_home)
            _draw_colour_bar(figure, drawn, scale, is_ours=axes is None)
        if axes is not None and title:
            axes.set_title(title)
    return figure


def draw_line(
    a: Float64[np.ndarray, " K"],
    loss: Float64[np.ndarray, " K"],
    *,
    scale: ScaleKind,
    labels: tuple[str, str],
    home: int | None,
    title: str,
    axes: Axes | None,
) -> Figure:
    """Draw a loss over the points of a line, with a star at theta*. A loss that is not finite is a gap."""
    with isolated_settings():
        drawn = axes if axes is not None else _new_axes(title, projection=None)
        finite = np.where(np.isfinite(loss) & ((loss > 0) | (scale == "linear")), loss, np.nan)
        drawn.plot(a, finite, color=BLUE, linewidth=1.4, marker="." if len(a) <= _FEW else "", markersize=4)
        if scale == "log" and np.isfinite(finite).any():
            drawn.set_yscale("log")
            is_close = np.nanmax(finite) < 100 * np.nanmin(finite)
            drawn.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5) if is_close else (1,), numticks=9))
            drawn.yaxis.set_major_formatter(FuncFormatter(lambda value, _: loss_label(value)))
            drawn.yaxis.set_minor_formatter(NullFormatter())
        if home is not None and np.isfinite(finite[home]):
            drawn.plot(a[home], finite[home], clip_on=False, zorder=7, **STAR)
        drawn.set_xlabel(labels[0])
        drawn.set_ylabel(labels[1])
        drawn.grid(visible=True, color="#dddddd", lw=0.6)
        drawn.set_axisbelow(True)
        if axes is not None and title:
            axes.set_title(title)
    return cast("Figure", drawn.get_figure(root=True))


def _new_axes(title: str, *, projection: str | None) -> Axes:
    """Return axes in a new figure."""
    figure = new_figure(_WIDTH, _HEIGHT)
    if title:
        write(figure, _LEFT, _HEIGHT - _TITLE_BELOW_TOP, title, fontsize=11, weight="bold")
    if projection is None:
        return figure.add_axes(place(figure, _LEFT, _BOTTOM, _SIDE, _SIDE), label="surface")
    where = place(figure, *_SOLID)
    return figure.add_axes(where, projection=projection, computed_zorder=False, label="surface")


def _draw_colour_bar(figure: Figure, axes: Axes, scale: LossScale, *, is_ours: bool) -> None:
    if scale.low is None:
        return
    colours = ScalarMappable(norm=scale.norm, cmap=COLORMAP)
    if is_ours:
        beside = figure.add_axes(place(figure, _BAR_LEFT, _BOTTOM, _BAR_WIDTH, _SIDE), label="colour bar")
        bar = figure.colorbar(colours, cax=beside)
    else:
        bar = figure.colorbar(colours, ax=axes)
    ticks = scale.levels(np.array([scale.low, scale.high]), count=_TICKS) or [scale.low]
    bar.set_ticks(ticks, labels=scale.tick_labels(ticks))
    bar.set_label(scale.label)
