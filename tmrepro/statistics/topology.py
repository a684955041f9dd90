"""Connected parts of a surface: the low region around theta*, and the minima by sublevel persistence.

Points are neighbours along the axes (4-connected). A point whose loss is not finite is a wall: it belongs to no
region, and counts as +inf in the filtration.
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from tmrepro.statistics.landscape import Landscape, ratio


def low_loss_fraction(landscape: Landscape, *, rise: float) -> float | None:
    """Return the share of all grid points connected to theta* by losses of at most S0 + `rise` (nats)."""
    s0 = landscape.at_minimum
    if s0 is None:
        return None
    regions, _ = scipy.ndimage.label(landscape.finite & (landscape.loss <= s0 + rise))
    return int(np.count_nonzero(regions == regions[landscape.home])) / landscape.loss.size


def local_minima(landscape: Landscape) -> int | None:
    """Return the number of minima: the deepest, and one for each bar of persistence."""
    return None if landscape.span is None else 1 + landscape.bars.size


def total_persistence(landscape: Landscape) -> float | None:
    """Return the sum of the bars over R: the total depth of all minima except the deepest."""
    return ratio(float(landscape.bars.sum()), landscape.span)
