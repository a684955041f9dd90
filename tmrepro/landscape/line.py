"""`tmrepro.loss_line`: the loss of a user's network along a line through its parameters, computed as one row of a surface."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from torch import nn

from tmrepro.directions.gaussian import DirectionPair, Moves, Normalization, line_direction
from tmrepro.landscape.adapter import Output
from tmrepro.landscape.arguments import Asked, choice
from tmrepro.landscape.losses import CROSS_ENTROPY, Loss
from tmrepro.landscape.points import Origin, Unit, line_points
from tmrepro.landscape.surface import Options, Progress, landscape_of
from tmrepro.landscape.vectors import own_vector
from tmrepro.networks.parameters import layout_of, theta_of
from tmrepro.store.attributes import flat_attributes
from tmrepro.store.labels import labelled
from tmrepro.surface import Precision

_OF_A_PLANE = ("delta_norm", "delta_sha256", "cosine")
_OF_A_LINE = {"eta_norm": "direction_norm", "eta_sha256": "direction_sha256", "eta_seed": "direction_seed"}


def loss_line(
    model: nn.Module,
    loss: Loss = CROSS_ENTROPY,
    inputs: Any = None,
    targets: Any = None,
    direction: Any = 1,
    grid: int | Sequence[float] = 201,
    *,
    origin: Origin | None = None,
    step: float | None = None,
    unit: Unit = "absolute",
    normalization: Normalization | None = None,
    moves: Moves = "all",
    precision: Precision | None = None,
    batch: Literal["all"] | None = None,
    chunk: int = 64,
    evaluator: str | None = None,
    threads: int | None = None,
    progress: bool | Progress = False,
    out: Path | str | None = None,
    output: Output = None,
) -> xr.Dataset:
    """Compute the mean loss of `model` at theta* + a delta^ over points a. theta* are its present parameters.

    The line is computed as one row of `loss_surface`, with the same arguments. The model is not changed.

    Args:
        model: as for `loss_surface`.
        loss: as for `loss_surface`.
        inputs: as for `loss_surface`.
        targets: as for `loss_surface`.
        direction: a seed; your own direction, as a dict of tensors by parameter name, a list of tensors or one vector; or
            the result of `directions_toward`, `hessian_directions` or `pca_directions`, whose delta is used.
        grid: K, for K points; or the points a themselves, ascending.
        origin: of a line given by K: corner (a = 0, step, ...; the default) or center.
        step: of a line given by K: the distance of neighbouring points; 1 by default.
        unit: absolute or relative (to ||theta*||).
        normalization: l2, filter, layer or none; by default l2 for a seed, and none for your own direction.
        moves: all parameters, or only weights.
        precision: as for `loss_surface`.
        batch: as for `loss_surface`.
        chunk: points of a chunk, the unit of work and of resuming.
        evaluator: as for `loss_surface`.
        threads: as for `loss_surface`.
        progress: as for `loss_surface`.
        out: as for `loss_surface`; the line is kept as a surface of one row.
        output: as for `loss_surface`.

    Returns:
        A Dataset with loss [a] and, for class labels, accuracy [a]. The attributes are those of `loss_surface`, for one
        direction: direction_norm, direction_sha256, direction_seed; home is the index of theta*; error_points are indices.

    Raises:
        UsageError: an argument is invalid.
        StorageError: `out` is not writable.
    """

    def pair_of(copied: nn.Module) -> DirectionPair:
        if normalization is not None:
            choice("normalization", normalization, Normalization)
        layout = layout_of(copied)
        given = own_vector(direction, layout=layout)
        how = normalization or ("l2" if isinstance(given, int) else "none")
        line = line_direction(given, theta=theta_of(copied), layout=layout, normalization=how, moves=moves)
        return DirectionPair(line.eta, line.delta, line.eta_facts, line.delta_facts, line.cosine)  # along b: a row

    row = landscape_of(
        model,
        Asked(loss, inputs, targets, output),
        pair_of=pair_of,
        lay_points=lambda theta_norm: line_points(grid, origin=origin, step=step, unit=unit, theta_norm=theta_norm),
        options=Options(moves, unit, precision, batch, chunk, evaluator, threads, progress, out),
    )
    line = row.isel(a=0, drop=True).rename({"b": "a"})
    line.attrs = flat_attributes(_of_a_line(row.attrs))
    return labelled(line, words=row.loss.attrs["long_name"], unit=row.loss.attrs["units"])


def _of_a_line(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a row as those of a line."""
    found = {_OF_A_LINE.get(name, name): value for name, value in attributes.items() if name not in _OF_A_PLANE}
    if "home" in found:
        found["home"] = found["home"][1]
    if "error_points" in found:
        found["error_points"] = [int(j) for j in np.reshape(found["error_points"], (-1, 2))[:, 1]]
    return found
