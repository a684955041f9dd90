"""In which order the chunks of a surface are computed: a coarse lattice over all of it first, then the finer ones between.

Whoever looks in early sees the whole surface, in gaps, and not its first rows. No byte depends on the order.
"""

from __future__ import annotations


def lattice_step(index: tuple[int, int], *, home: tuple[int, int]) -> int:
    """The coarsest lattice around `home` that a chunk is on: the largest power of two that divides both distances.

    The home chunk is on every lattice, which 0 stands for.
    """
    distance = abs(index[0] - home[0]) | abs(index[1] - home[1])
    return distance & -distance


def coarse_first(index: tuple[int, int], *, home: tuple[int, int]) -> tuple[int, int, int]:
    """A key that sorts chunks by their lattices, the home chunk first, then row by row."""
    step = lattice_step(index, home=home)
    return (-step if step else -(2**62), *index)
