"""The order in which the chunks of a surface are computed: a coarse lattice over all of it first, then finer ones.

So an early view shows the whole surface with gaps, not only its first rows. The bytes do not depend on the order.
"""

from __future__ import annotations


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
