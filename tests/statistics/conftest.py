from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tmrepro.records import Surface
from tmrepro.statistics import Value, surface_statistics

Statistics = dict[str, Value]


@pytest.fixture(scope="session")
def statistics_of() -> Callable[..., Statistics]:
    """Statistics of a bare array of losses; theta* stands in the corner unless `home` says otherwise."""

    def statistics_of(losses, *, home: tuple[int, int] = (0, 0), step: float = 1.0) -> Statistics:
        loss = np.array(losses, dtype=np.float64)
        a, b = (np.arange(float(points)) for points in loss.shape)  # statistics go by `home` and `step`
        surface = Surface(loss=loss, accuracy=np.zeros_like(loss), a=a, b=b)
        return surface_statistics(surface, home=home, step=step)

    return statistics_of
