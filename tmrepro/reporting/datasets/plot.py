"""`tmrepro.plot_surface`: draws a surface or a line in the style of a run's figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import xarray as xr

from tmrepro.errors import UsageError
from tmrepro.records import Direction, PlanePlace, SurfaceFacts, TrajectoryPoint
from tmrepro.reporting.datasets.reading import axis_of, home_of, is_line, number, require_dataset, surface_in
from tmrepro.reporting.figures import Panel, draw_line, draw_single
from tmrepro.reporting.figures.scale import loss_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["contour", "solid", "line"]
Scale = Literal["auto", "linear", "log"]
PCA = "pca"


def plot_surface(
    ds: xr.Dataset,
    kind: Kind | None = None,
    *,
    trajectory: xr.Dataset | Sequence[TrajectoryPoint] | None = None,
    plane: str | None = None,
    scale: Scale = "auto",
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw a loss surface as labelled contours or in 3D, or draw a line. A star marks theta*.

    Args:
        ds: a surface from `loss_surface` or `open_run(RUN).surface(SURFACE, MODEL)`, or a line from `loss_line`.
        kind: for a surface, contour (the default) or solid; for a line, line.
        trajectory: the path of training to draw over a surface, from `Trajectory.dataset` or
            `open_run(RUN).trajectory(MODEL)`.
        plane: the plane of the path that this surface is: a name among the `planes` of `Trajectory.dataset`, pca for the
            plane of the principal components, or the name of a run's surface. Optional if the path has only one plane.
        scale: of the loss: linear; log (base 10); or auto, which is log if the largest loss is more than 100 times the
            smallest.
        title: the title of the figure.
        ax: axes to draw into, with a 3d projection for a solid; by default a new figure.

    Returns:
        The matplotlib Figure. Save it with `figure.savefig("surface.png")`. No window is opened.

    Raises:
        UsageError: an argument is invalid.
    """
    found = require_dataset(ds)
    chosen = kind if kind is not None else "line" if is_line(found) else "contour"
    for name, value, choices in (("kind", chosen, Kind), ("scale", scale, Scale)):
        if value not in get_args(choices):
            raise UsageError(f"{name}: choose one of {', '.join(get_args(choices))} (got {value!r})")
    if is_line(found) != (chosen == "line"):
        what = "a line" if is_line(found) else "a surface (loss_line returns lines)"
        raise UsageError(f"kind: {chosen!r} does not fit this Dataset, which is {what}")
    if ax is not None and (getattr(ax, "name", "") == "3d") != (chosen == "solid"):
        needed = "axes of a 3d projection" if chosen == "solid" else "plane axes"
        raise UsageError(f"ax: {chosen} needs {needed}: plt.subplots(subplot_kw={{'projection': ...}})")
    if chosen == "line":
        if trajectory is not None:
            raise UsageError("trajectory: can be drawn over a surface only, not over a line")
        return _line(found, scale=scale, title=title, ax=ax)
    surface = surface_in(found)
    if min(surface.loss.shape) < 2:
        raise UsageError(f"expected at least 2 x 2 points, got {surface.loss.shape[0]} x {surface.loss.shape[1]}")
    home = home_of(surface.a, surface.b)
    panel = Panel(
        model=title,
        category="",
        surface=surface,
        facts=_facts(found),
        home=(0, 0) if home is None else (home[0], home[1]),
        path=() if trajectory is None else _places(trajectory, plane),
    )
    unit = str(found["loss"].attrs.get("units", "nats"))
    return draw_single(
        panel,
        kind=chosen,
        scale=loss_scale([surface.loss], kind=scale, unit=unit),
        has_home=home is not None,
        title=title,
        axes=ax,
    )


def _line(ds: xr.Dataset, *, scale: Scale, title: str, ax: Axes | None) -> Figure:
    a, home = axis_of(ds, "a"), home_of(axis_of(ds, "a"))
    words, unit = (str(ds["loss"].attrs.get(name, other)) for name, other in (("long_name", "loss"), ("units", "nats")))
    loss = np.asarray(ds["loss"].values, dtype=np.float64)
    return draw_line(
        a,
        loss,
        scale=loss_scale([loss], kind=scale).kind,
        labels=(str(ds["a"].attrs.get("long_name", "a")), f"{words} ({unit})"),
        home=None if home is None else home[0],
        title=title,
        axes=ax,
    )


def _facts(ds: xr.Dataset) -> SurfaceFacts:
    delta, eta = (Direction(None, "", number(ds, f"{name}_norm", otherwise=float("nan"))) for name in ("delta", "eta"))
    return SurfaceFacts(
        delta=delta,
        eta=eta,
        cosine=number(ds, "cosine", otherwise=float("nan")),
        theta_norm=number(ds, "theta_norm", otherwise=float("nan")),
        images=int(number(ds, "images", otherwise=0.0)),
        labels="",
    )


def _places(path: Any, plane: str | None) -> tuple[PlanePlace, ...]:
    """Return the coordinates of the points of a path in one of its planes."""
    if isinstance(path, xr.Dataset) and "epoch" in path.dims:
        names = [str(name)[:-2] for name in path.data_vars if str(name).endswith("_a")]
        columns = {name: (f"{name}_a", f"{name}_b") for name in names if f"{name}_b" in path}
        if "pca_1" in path and bool(np.isfinite(path["pca_1"]).all()):
            columns.setdefault(PCA, ("pca_1", "pca_2"))
        a, b = columns[_plane(plane, [*columns])]
        rows = zip(path[a].values.tolist(), path[b].values.tolist(), strict=True)
        return tuple(PlanePlace(x, y, None) for x, y in rows)
    if isinstance(path, Sequence) and path and all(isinstance(point, TrajectoryPoint) for point in path):
        chosen = _plane(plane, list(path[0].places))
        return tuple(point.places[chosen] for point in path)
    raise UsageError("trajectory: expected the result of Trajectory.dataset or open_run(RUN).trajectory(MODEL)")


def _plane(plane: str | None, names: list[str]) -> str:
    if plane is None and len(names) == 1:
        return names[0]
    if plane not in names:
        wrong = "name the plane of this surface" if plane is None else f"there is no {plane!r}"
        raise UsageError(f"plane: {wrong}; the path has {', '.join(names) or 'none'}")
    return plane
