"""The loss around theta*: slope, sharpness, the radius of half rise, and asymmetries."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64

from tmrepro.statistics.landscape import Landscape, mean, ratio


def slope_at_minimum(landscape: Landscape) -> float | None:
    """Return the norm of the finite-difference gradient at theta*, in nats per unit of a and b.

    Differences are central if theta* has neighbours on both sides, else one-sided. None if theta* or a neighbour that is
    needed is not finite.
    """
    if landscape.at_minimum is None:
        return None
    i, j = landscape.home
    along_a = _slope(landscape.loss[:, j], at=i, step=landscape.step)
    along_b = _slope(landscape.loss[i, :], at=j, step=landscape.step)
    return math.hypot(along_a, along_b)


def sharpness(landscape: Landscape, *, share: float) -> float | None:
    """Return 100 max (S - S0) / (1 + S0), in %, within `share` of the grid's reach (Keskar et al. 2017, in the plane).

    theta* is among the points, so this is never negative. None if 1 + S0 is not positive.
    """
    s0 = landscape.at_minimum
    if s0 is None or 1 + s0 <= 0:
        return None
    # 1e-9 includes the points on the circle, in spite of the rounding of share m
    near = landscape.finite & (landscape.radius <= share * landscape.reach + 1e-9)
    return 100 * (float(landscape.loss[near].max()) - s0) / (1 + s0)


def half_rise_radius(landscape: Landscape) -> float | None:
    """Return the radius, in units of a, where the mean loss on a ring first reaches half the rise towards the edge.

    Rings are one step wide. The mean is interpolated linearly between neighbouring rings. None if the edge is not above
    theta*, if no ring reaches half the rise, or if the ring before that one has no finite point.
    """
    s0, edge = landscape.at_minimum, _edge_median(landscape)
    if s0 is None or edge is None or edge <= s0:
        return None
    half = s0 + (edge - s0) / 2
    means = _ring_means(landscape)
    reached = np.flatnonzero(means >= half)  # the mean of an empty ring is nan, which is not >= half
    if reached.size == 0:
        return None
    ring = int(reached[0])
    if ring == 0:  # only if half the rise is lost in rounding
        return 0.0
    before, after = float(means[ring - 1]), float(means[ring])
    return (ring - 1 + (half - before) / (after - before)) * landscape.step


def axis_asymmetry(landscape: Landscape) -> float | None:
    """Return mean |S - S^T| / mean |S - S0|: 0 if both directions are alike. Square surfaces only."""
    if landscape.loss.shape[0] != landscape.loss.shape[1]:
        return None
    return _asymmetry(landscape, mirrored=landscape.loss.T)


def point_asymmetry(landscape: Landscape) -> float | None:
    """Return mean |S(a, b) - S(-a, -b)| / mean |S - S0|: 0 if opposite points are alike. Centred grids only."""
    if any(2 * at != points - 1 for at, points in zip(landscape.home, landscape.loss.shape, strict=True)):
        return None
    return _asymmetry(landscape, mirrored=landscape.loss[::-1, ::-1])


def _slope(line: Float64[np.ndarray, " n"], *, at: int, step: float) -> float:
    """Return the slope of `line` at index `at`; nan if the line has only one point."""
    low, high = max(at - 1, 0), min(at + 1, line.size - 1)
    if low == high:
        return math.nan
    return (float(line[high]) - float(line[low])) / ((high - low) * step)


def _edge_median(landscape: Landscape) -> float | None:
    """Return the median over the grid's edges that do not touch theta*. A point on two edges is counted once."""
    i, j = landscape.home
    rows, columns = landscape.loss.shape
    edge = np.zeros(landscape.loss.shape, dtype=np.bool_)
    edge[[row for row in (0, rows - 1) if row != i], :] = True
    edge[:, [column for column in (0, columns - 1) if column != j]] = True
    losses = landscape.loss[edge & landscape.finite]
    return float(np.median(losses)) if losses.size else None


def _ring_means(landscape: Landscape) -> Float64[np.ndarray, " rings"]:
    """Return the mean finite loss on ring 0 (theta* alone), 1, ..., m; nan for a ring without a finite loss."""
    ring = np.rint(landscape.radius).astype(np.int64)
    inside = landscape.finite & (ring <= landscape.reach)
    rings = landscape.reach + 1
    points = np.bincount(ring[inside], minlength=rings)
    sums = np.bincount(ring[inside], weights=landscape.loss[inside], minlength=rings)
    return sums / points


def _asymmetry(landscape: Landscape, *, mirrored: Float64[np.ndarray, "Ka Kb"]) -> float | None:
    if landscape.at_minimum is None:
        return None
    pairs = landscape.finite & np.isfinite(mirrored)
    difference = mean(np.abs(landscape.loss[pairs] - mirrored[pairs]))
    return ratio(difference, mean(np.abs(landscape.finite_losses - landscape.at_minimum)))
