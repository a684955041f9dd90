"""Values of the loss on a surface, in nats; None if no loss is finite."""

from __future__ import annotations

import numpy as np

from tmrepro.statistics.landscape import Landscape, mean


def loss_at_minimum(landscape: Landscape) -> float | None:
    """Return S0, the loss at theta*; None if it is not finite."""
    return landscape.at_minimum


def loss_min(landscape: Landscape) -> float | None:
    """Return the smallest finite loss."""
    return float(landscape.finite_losses.min()) if landscape.finite_losses.size else None


def depth_below_minimum(landscape: Landscape) -> float | None:
    """Return S0 minus the smallest finite loss, at least 0; None if S0 is not finite."""
    lowest, at_minimum = loss_min(landscape), landscape.at_minimum
    return None if lowest is None or at_minimum is None else max(at_minimum - lowest, 0.0)


def loss_max(landscape: Landscape) -> float | None:
    """Return the largest finite loss."""
    return float(landscape.finite_losses.max()) if landscape.finite_losses.size else None


def loss_mean(landscape: Landscape) -> float | None:
    """Return the mean of the finite losses."""
    return mean(landscape.finite_losses)


def loss_median(landscape: Landscape) -> float | None:
    """Return the median of the finite losses."""
    return float(np.median(landscape.finite_losses)) if landscape.finite_losses.size else None


def non_finite(landscape: Landscape) -> int:
    """Return the number of points whose loss is nan or infinite."""
    return int(landscape.loss.size - landscape.finite_losses.size)
