"""Coarse lattices first: every chunk once, the home chunk first, the whole surface seen before its details."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tmrepro.surface.grid import coarse_first, lattice_step


@given(st.integers(1, 12), st.data())
def test_each_lattice_comes_before_the_finer_ones(n: int, data: st.DataObject) -> None:
    home = (data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, n - 1)))
    indices = [(i, j) for i in range(n) for j in range(n)]
    ordered = sorted(indices, key=lambda index: coarse_first(index, home=home))
    assert sorted(ordered) == indices
    assert ordered[0] == home
    for step in (8, 4, 2):
        on_lattice = [(i, j) for i, j in indices if (i - home[0]) % step == (j - home[1]) % step == 0]
        assert sorted(ordered[: len(on_lattice)]) == on_lattice


def test_four_by_four_chunks_from_a_corner() -> None:
    steps = [[lattice_step((i, j), home=(0, 0)) for j in range(4)] for i in range(4)]
    assert steps == [[0, 1, 2, 1], [1, 1, 1, 1], [2, 1, 2, 1], [1, 1, 1, 1]]
