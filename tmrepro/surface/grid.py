"""The points of a surface, and the order in which its chunks are computed.

The order begins with a coarse lattice over the whole surface, so an early view shows all of it with gaps. The bytes do not depend
on it.
"""

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


def lattice_step(index: tuple[int, int], *, home: tuple[int, int]) -> int:
    """Return the coarsest lattice around `home` with this chunk: the largest power of two that divides both distances.

    The home chunk is on every lattice; its result is 0.
    """
    distance = abs(index[0] - home[0]) | abs(index[1] - home[1])
    return distance & -distance


def coarse_first(index: tuple[int, int], *, home: tuple[int, int]) -> tuple[int, int, int]:
    """Return a key that sorts chunks by their lattices, the home chunk first, then row by row."""
    step = lattice_step(index, home=home)
    return (-step if step else -(2**62), *index)
