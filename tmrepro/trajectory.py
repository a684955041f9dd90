"""The path of training, seen from theta*: how far, in which direction, and where in a plane. All in float64, without BLAS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from tmrepro.directions import DirectionPair
from tmrepro.parameters import norm_of
from tmrepro.records import PlanePlace, TrajectoryPoint

Vector = Float[np.ndarray, " n"]


def follow(
    thetas: Iterable[tuple[int, Vector]],
    *,
    theta_star: Vector,
    components: Sequence[tuple[float, float]],
    planes: Mapping[str, DirectionPair],
    measure: Callable[[int], tuple[float | None, float | None]],
) -> list[TrajectoryPoint]:
    """The points of a path, from the epochs and parameters `thetas`; one of them is held in memory, and the one before.

    `components` are their coordinates along the principal components; `measure` gives loss and gradient norm at an epoch.
    """
    points: list[TrajectoryPoint] = []
    before: Vector | None = None
    for (epoch, theta), coordinates in zip(thetas, components, strict=True):
        away = theta.astype(np.float64) - theta_star
        loss, gradient_norm = measure(epoch)
        points.append(
            TrajectoryPoint(
                epoch=epoch,
                loss=loss,
                distance=norm_of(away),
                gradient_norm=gradient_norm,
                cosine=None if before is None else _cosine(away - before, -before),
                components=coordinates,
                places={name: place_in(away, pair.delta, pair.eta) for name, pair in planes.items()},
            )
        )
        before = away
    return points


def place_in(away: Vector, delta: Vector, eta: Vector) -> PlanePlace:
    """Where theta* + `away` [n] is in the plane of the directions `delta` and `eta` [n]: the nearest point, and how far it is.

    The directions need not be orthogonal; a and b are their coefficients, as those of a surface's axes are.
    """
    dd, ee, de = dot(delta, delta), dot(eta, eta), dot(delta, eta)
    determinant = dd * ee - de * de
    if not determinant > 1e-12 * dd * ee:
        return PlanePlace(None, None, None)
    along_delta, along_eta = dot(away, delta), dot(away, eta)
    a = (along_delta * ee - along_eta * de) / determinant
    b = (along_eta * dd - along_delta * de) / determinant
    return PlanePlace(a, b, norm_of(away - a * delta.astype(np.float64) - b * eta.astype(np.float64)))


def dot(one: Vector, other: Vector) -> float:
    """The inner product in float64. No BLAS: its sums differ between processors."""
    products = one.astype(np.float64)
    products *= other
    return float(np.sum(products))


def _cosine(step: Vector, towards: Vector) -> float | None:
    length = norm_of(step) * norm_of(towards)
    return dot(step, towards) / length if length > 0 and math.isfinite(length) else None
