"""Statistics of bare arrays."""

from __future__ import annotations

import numpy as np

from tmrepro.records import Surface
from tmrepro.statistics import Value, surface_statistics


def statistics_of(losses, *, home: tuple[int, int] = (0, 0), step: float = 1.0) -> dict[str, Value]:
    """Return the statistics of a bare array of losses; theta* is in the corner unless `home` says otherwise."""
    loss = np.array(losses, dtype=np.float64)
    a, b = (np.arange(float(points)) for points in loss.shape)  # statistics go by `home` and `step`
    surface = Surface(loss=loss, accuracy=np.zeros_like(loss), a=a, b=b)
    return surface_statistics(surface, home=home, step=step)
