"""The points of a surface."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tmrepro.records import Grid


def build_grid(
    K: int,
    *,
    origin: Literal["corner", "center"],
    step: float,
    unit: Literal["absolute", "relative"],
    theta_norm: float,
) -> Grid:
    """Return the K x K grid of a spec.

    corner: a_i = step i, theta* at (0, 0), as in the paper's Algorithm 2. center: a_i = step (i - (K-1)/2), theta* in the
    middle. relative: multiplied by `theta_norm`, ||theta*||_2 over all parameters.
    """
    middle = (K - 1) // 2 if origin == "center" else 0
    spacing = step * theta_norm if unit == "relative" else step
    offsets = np.arange(K, dtype=np.float64) - middle
    a = step * offsets
    if unit == "relative":
        a = a * theta_norm
    return Grid(a=a, b=a.copy(), home=(middle, middle), step=spacing)
