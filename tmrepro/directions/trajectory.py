"""The path of training relative to theta*: distances, directions, and coordinates in a plane. In float64, without BLAS."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from tmrepro.directions.gaussian import DirectionPair
from tmrepro.networks.parameters import dot, norm_of
from tmrepro.records import PlanePlace, TrajectoryPoint

Vector = Float[np.ndarray, " n"]


def follow(
    epochs: Sequence[int],
    theta: Callable[[int], Vector],
    *,
    theta_star: Vector,
    components: Float[np.ndarray, "points 2"] | None,
    measure: Callable[[int], tuple[float | None, float | None]],
) -> list[TrajectoryPoint]:
    """Return the points of a path at `epochs`, without coordinates in planes. Two points are in memory at a time.

    `theta` returns the parameters [n] of a point by its index, and `measure` its loss and gradient norm. `components` are the
    coordinates along the principal components, or None if there are fewer than two.
    """
    points: list[TrajectoryPoint] = []
    before: Vector | None = None
    for index, epoch in enumerate(epochs):
        away = away_from(theta_star, theta(index))
        loss, gradient_norm = measure(index)
        points.append(
            TrajectoryPoint(
                epoch=epoch,
                loss=loss,
                distance=norm_of(away),
                gradient_norm=gradient_norm,
                cosine=None if before is None else _cosine(away - before, -before),
                components=None if components is None else (float(components[index, 0]), float(components[index, 1])),
            )
        )
        before = away
    return points


def places_in(
    pair: DirectionPair, theta: Callable[[int], Vector], count: int, *, theta_star: Vector
) -> list[PlanePlace]:
    """Return the coordinates of each of the `count` points of a path in the plane of `pair`."""
    return [place_in(away_from(theta_star, theta(index)), pair.delta, pair.eta) for index in range(count)]


def away_from(theta_star: Vector, theta: Vector) -> Vector:
    """Return theta - theta* [n] in float64."""
    away = theta.astype(np.float64)
    away -= theta_star
    return away


def place_in(away: Vector, delta: Vector, eta: Vector) -> PlanePlace:
    """Return the point of the plane of `delta` and `eta` [n] that is nearest to theta* + `away` [n], and its distance.

    The directions need not be orthogonal. a and b are their coefficients, as on the axes of a surface.
    """
    dd, ee, de = dot(delta, delta), dot(eta, eta), dot(delta, eta)
    determinant = dd * ee - de * de
    if not determinant > 1e-12 * dd * ee:
        return PlanePlace(None, None, None)
    along_delta, along_eta = dot(away, delta), dot(away, eta)
    a = (along_delta * ee - along_eta * de) / determinant
    b = (along_eta * dd - along_delta * de) / determinant
    return PlanePlace(a, b, norm_of(away - a * delta.astype(np.float64) - b * eta.astype(np.float64)))


def _cosine(step: Vector, towards: Vector) -> float | None:
    length = norm_of(step) * norm_of(towards)
    return dot(step, towards) / length if length > 0 and math.isfinite(length) else None
