"""What of a surface hangs together: the low region around theta*, and its minima by sublevel persistence.

Points are neighbours along the axes (4-connected). A point whose loss is not finite is a wall: it belongs to no
region, and counts as +inf in the filtration.
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage
from jaxtyping import Float64

from tmrepro.statistics.landscape import Landscape, ratio

# A minimum counts where the loss has to climb more than this share of R to get out of it
PERSISTENCE_SHARE = 1 / 100


def low_loss_fraction(landscape: Landscape, *, rise: float) -> float | None:
    """Return the share of all grid points that theta* reaches without the loss rising above S0 + `rise` (nats)."""
    s0 = landscape.at_minimum
    if s0 is None:
        return None
    regions, _ = scipy.ndimage.label(landscape.finite & (landscape.loss <= s0 + rise))
    return int(np.count_nonzero(regions == regions[landscape.home])) / landscape.loss.size


def persistent_bars(landscape: Landscape) -> Float64[np.ndarray, " bars"]:
    """Return the lengths of the finite bars longer than R / 100 in dimension 0, in nats, ascending.

    A bar begins at the loss of a minimum and ends where its basin meets a deeper one. The deepest minimum of each
    walled-off part has no end and is not among them.
    """
    if not landscape.span:
        return np.empty(0)
    import gudhi  # here, because readers of stored statistics need not load it

    complex_ = gudhi.CubicalComplex(vertices=np.where(landscape.finite, landscape.loss, np.inf))
    complex_.compute_persistence()
    births_and_deaths = np.asarray(complex_.persistence_intervals_in_dimension(0), dtype=np.float64).reshape(-1, 2)
    lengths = births_and_deaths[:, 1] - births_and_deaths[:, 0]
    # sorted, so that sums do not depend on the order in which the library finds them
    return np.sort(lengths[np.isfinite(lengths) & (lengths > landscape.span * PERSISTENCE_SHARE)])


def local_minima(landscape: Landscape, *, bars: Float64[np.ndarray, " bars"]) -> int | None:
    """Return the number of minima that count: the deepest, and one for each of the `bars`."""
    return None if landscape.span is None else 1 + bars.size


def total_persistence(landscape: Landscape, *, bars: Float64[np.ndarray, " bars"]) -> float | None:
    """Return the sum of the `bars` over R: how deep the minima besides the deepest are, taken together."""
    return ratio(float(bars.sum()), landscape.span)
