"""Planes and lines through the states of a training, or through other minima of the same network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64
from torch import nn

from tmrepro.directions.components import State, open_state, principal_components, read_state
from tmrepro.errors import UsageError
from tmrepro.landscape.module import own_model, unwrapped
from tmrepro.networks.parameters import dot, layout_of, norm_of, theta_of

SAME = 1e-12  # of squared lengths: less than the rounding error of float32


@dataclass(frozen=True)
class Plane:
    """Two directions [n], float32, for `loss_surface(directions=...)`, which does not normalise them again.

    If `eta` is None, there is only one direction, for `loss_line(direction=...)`. `loss_line` uses `delta` of a plane.
    """

    delta: Float32[np.ndarray, " n"]
    eta: Float32[np.ndarray, " n"] | None


@dataclass(frozen=True)
class ComponentDirections(Plane):
    """`explained` [2]: shares of the states' variance. `coordinates` [states, 2]: the (a, b) of each state in the plane."""

    explained: Float64[np.ndarray, " 2"]
    coordinates: Float64[np.ndarray, "states 2"]


@dataclass(frozen=True)
class TowardDirections(Plane):
    """`places`: the (a, b) of `theta*`, `first` and, if given, `second`."""

    places: Mapping[str, tuple[float, float]]


def pca_directions(model: nn.Module, states: Sequence[State]) -> ComponentDirections:
    """Return the plane through the model's parameters theta* along the two principal components of a training's `states`.

    This is a PCA of the differences theta_i - theta* (Li et al. 2018, section 7), centred on their mean. Components have
    unit norm, and their entries of largest magnitude are positive. Files are read block by block: of fifty states of
    ResNet50, only a few are in memory at a time.

    Args:
        model: a module at theta*, usually the last state; float32 parameters.
        states: at least three state dicts, safetensors files, or vectors in the order of the parameters. Buffers are ignored.

    Raises:
        UsageError: there are too few states; or they belong to another network (the message names the parameter or shape), are
            not finite, or lie on one line.
    """
    module = own_model(unwrapped(model))
    if isinstance(states, Mapping | str) or not isinstance(states, Sequence):
        raise UsageError(f"states: expected a list of states, got a {type(states).__name__}")
    found = principal_components(
        states, origin=theta_of(module), layout=layout_of(module), others=frozenset(module.state_dict())
    )
    return ComponentDirections(found.components[0], found.components[1], found.explained, found.coordinates)


def directions_toward(
    model: nn.Module, first: nn.Module | State, second: nn.Module | State | None = None, *, orthonormal: bool = False
) -> TowardDirections:
    """Return the line from the model's parameters theta* to `first`, or the plane through theta*, `first` and `second`.

    delta = first - theta* and eta = second - theta*, so `first` is at (a, b) = (1, 0) and `second` at (0, 1). With
    `orthonormal`, delta has unit norm, and eta is the unit vector of the plane that is orthogonal to delta. `places` gives
    the coordinates of the points. Buffers (statistics of batch norm) are those of the model everywhere.

    Args:
        model: a module at theta*.
        first: another module of the same network, a state dict, a safetensors file or a vector.
        second: the second point, in any of these forms.
        orthonormal: make the directions orthonormal.

    Raises:
        UsageError: a point belongs to another network or is not finite; or points are identical or lie on one line.
    """
    module = own_model(unwrapped(model))
    theta = theta_of(module)
    points = {name: point for name, point in (("first", first), ("second", second)) if point is not None}
    if "first" not in points:
        raise UsageError("first: expected a module, a state dict, a safetensors file or a vector, got nothing")
    steps = {name: _step(module, theta, point, name) for name, point in points.items()}
    delta, eta = steps["first"], steps.get("second")
    square = dot(delta, delta)
    along = dot(delta, eta) / square if eta is not None else 0.0
    beside = None if eta is None else eta - along * delta
    if eta is not None and beside is not None and dot(beside, beside) <= SAME * max(square, dot(eta, eta)):
        same = " (first and second are the same point)" if np.array_equal(eta, delta) else ""
        raise UsageError(f"second: lies on the line through theta* and first, so there is no plane{same}")
    places = {"theta*": (0.0, 0.0), "first": (1.0, 0.0)} | ({} if eta is None else {"second": (0.0, 1.0)})
    if orthonormal:
        length = norm_of(delta)
        places["first"] = (length, 0.0)
        delta = delta / length
        if beside is not None:
            places["second"] = (along * length, norm_of(beside))
            eta = beside / norm_of(beside)
    return TowardDirections(delta.astype(np.float32), None if eta is None else eta.astype(np.float32), places)


def _step(module: nn.Module, theta: np.ndarray, point: Any, name: str) -> Float64[np.ndarray, " n"]:
    """Return the difference of a point and `theta`, in float64."""
    state = unwrapped(point).state_dict() if isinstance(point, nn.Module) else point
    layout, others = layout_of(module), frozenset(module.state_dict())
    found = read_state(open_state(state, layout=layout, others=others, name=name), layout=layout, name=name)
    step: np.ndarray = found.astype(np.float64) - theta
    if not np.any(step):
        raise UsageError(f"{name}: is the same point as theta*, so it gives no direction")
    return step
