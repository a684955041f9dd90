"""Planes and lines that mean something: through the states of a training, or through other minima of the same network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64
from torch import nn

from tmrepro.components import State, open_state, principal_components, read_state
from tmrepro.errors import UsageError
from tmrepro.landscape.module import own_model, unwrapped
from tmrepro.parameters import dot, layout_of, norm_of, theta_of

SAME = 1e-12  # of squared lengths: less than rounding in float32 leaves


@dataclass(frozen=True)
class Plane:
    """Two directions [n], float32, for `loss_surface(directions=...)`, which takes them as they are: not normalised again.

    Where `eta` is None there is one direction only, for `loss_line(direction=...)`, which takes `delta` of a plane too.
    """

    delta: Float32[np.ndarray, " n"]
    eta: Float32[np.ndarray, " n"] | None


@dataclass(frozen=True)
class ComponentDirections(Plane):
    """`explained` [2]: shares of the states' variance; `coordinates` [states, 2]: where each lies in the plane, as (a, b)."""

    explained: Float64[np.ndarray, " 2"]
    coordinates: Float64[np.ndarray, "states 2"]


@dataclass(frozen=True)
class TowardDirections(Plane):
    """`places`: the (a, b) of `theta*`, `first` and, where there is one, `second`."""

    places: Mapping[str, tuple[float, float]]


def pca_directions(model: nn.Module, states: Sequence[State]) -> ComponentDirections:
    """The plane through the model's parameters theta* along the two principal components of a training's `states`.

    PCA of the differences theta_i - theta* (Li et al. 2018, section 7), about their mean as PCA has it. Components have unit
    norm, and their entries of largest magnitude are positive. Files are read block by block: of fifty states of ResNet50 no
    more than a few are in memory at once.

    Args:
        model: a module that holds theta*, usually the last state; float32 parameters.
        states: at least three state dicts, safetensors files, or vectors in the order of the parameters. Buffers don't count.

    Raises:
        UsageError: too few states, states of another network (it says which name or shape), that are not finite, or that lie
            on one line.
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
    """The line from the model's parameters theta* to `first`, or the plane through theta*, `first` and `second`.

    delta = first - theta* and eta = second - theta*, so `first` is at (a, b) = (1, 0) and `second` at (0, 1). With
    `orthonormal`, delta has unit norm and eta is the unit vector of the plane orthogonal to it; `places` says where the points
    are then. Buffers (statistics of batch norm) stay the model's own along the way.

    Args:
        model: a module that holds theta*.
        first: another module of the same network, a state dict, a safetensors file or a vector.
        second: likewise.
        orthonormal: make the directions orthonormal.

    Raises:
        UsageError: a point of another network, or not finite; points that are identical or lie on one line.
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
    """What leads from `theta` to a point, in float64."""
    state = unwrapped(point).state_dict() if isinstance(point, nn.Module) else point
    layout, others = layout_of(module), frozenset(module.state_dict())
    found = read_state(open_state(state, layout=layout, others=others, name=name), layout=layout, name=name)
    step: np.ndarray = found.astype(np.float64) - theta
    if not np.any(step):
        raise UsageError(f"{name}: is the same point as theta*, so no direction leads there")
    return step
