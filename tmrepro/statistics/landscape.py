"""A surface for its statistics: the finite points, the place of theta*, and the range of the loss.

Every statistic is a function of one `Landscape`, so the rules for non-finite losses are in one place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64

# A minimum is counted if the loss must rise by more than this share of R to leave it.
PERSISTENCE_SHARE = 1 / 100


@dataclass(frozen=True, eq=False)
class Landscape:
    """The loss on a grid: loss[i, j] at theta* + (i - home[0]) step delta^ + (j - home[1]) step eta^."""

    loss: Float64[np.ndarray, "Ka Kb"]
    home: tuple[int, int]
    step: float

    @cached_property
    def finite(self) -> Bool[np.ndarray, "Ka Kb"]:
        """The points with a finite loss."""
        finite: Bool[np.ndarray, "Ka Kb"] = np.isfinite(self.loss)
        return finite

    @cached_property
    def finite_losses(self) -> Float64[np.ndarray, " n"]:
        """The finite losses, in C order."""
        losses: Float64[np.ndarray, " n"] = self.loss[self.finite]
        return losses

    @cached_property
    def at_minimum(self) -> float | None:
        """S0, the loss at theta*; None if it is not finite."""
        return float(self.loss[self.home]) if self.finite[self.home] else None

    @cached_property
    def span(self) -> float | None:
        """R, the largest finite loss minus the smallest; None without a finite loss, or beyond the range of float64."""
        if self.finite_losses.size == 0:
            return None
        span = float(self.finite_losses.max()) - float(self.finite_losses.min())
        return span if math.isfinite(span) else None

    @cached_property
    def reach(self) -> int:
        """m, the largest number of steps along a from theta* to a point of the grid."""
        return max(self.home[0], len(self.loss) - 1 - self.home[0])

    @cached_property
    def radius(self) -> Float64[np.ndarray, "Ka Kb"]:
        """The distance of every point from theta*, in steps."""
        i = np.arange(self.loss.shape[0], dtype=np.float64)[:, None] - self.home[0]
        j = np.arange(self.loss.shape[1], dtype=np.float64)[None, :] - self.home[1]
        radius: Float64[np.ndarray, "Ka Kb"] = np.sqrt(i * i + j * j)
        return radius

    @cached_property
    def bars(self) -> Float64[np.ndarray, " bars"]:
        """Lengths of the finite bars longer than R / 100 of sublevel persistence in dimension 0, in nats, ascending.

        A bar begins at the loss of a minimum and ends where its basin meets a deeper one. The deepest minimum of each region
        enclosed by walls has no end, and is not included.
        """
        if not self.span:
            return np.empty(0)
        import gudhi  # imported here, because readers of stored statistics do not need it

        complex_ = gudhi.CubicalComplex(vertices=np.where(self.finite, self.loss, np.inf))
        complex_.compute_persistence()
        births_and_deaths = np.asarray(complex_.persistence_intervals_in_dimension(0), dtype=np.float64).reshape(-1, 2)
        lengths = births_and_deaths[:, 1] - births_and_deaths[:, 0]
        # sorted, so that sums do not depend on the order in which the library finds them
        return np.sort(lengths[np.isfinite(lengths) & (lengths > self.span * PERSISTENCE_SHARE)])


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """Return numerator / denominator; None if either is undefined or the denominator is 0."""
    if numerator is None or denominator is None or denominator == 0:
        return None
    return numerator / denominator


def mean(values: Float64[np.ndarray, " n"]) -> float | None:
    """Return the mean of `values`; None if there are none."""
    return float(values.mean()) if values.size else None
