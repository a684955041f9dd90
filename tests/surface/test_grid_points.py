"""Where the points of a surface lie: against the design's formulas, point by point."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrepro.surface import build_grid

STEPS = st.floats(1e-3, 1e3)


def test_a_corner_starts_at_theta_star_and_walks_in_steps() -> None:
    grid = build_grid(4, origin="corner", step=0.25, unit="absolute", theta_norm=9.0)
    assert grid.a.tolist() == grid.b.tolist() == [0, 0.25, 0.5, 0.75]
    assert (grid.home, grid.step) == ((0, 0), 0.25)


def test_a_centre_has_theta_star_in_the_middle() -> None:
    grid = build_grid(5, origin="center", step=0.5, unit="absolute", theta_norm=9.0)
    assert grid.a.tolist() == grid.b.tolist() == [-1, -0.5, 0, 0.5, 1]
    assert grid.home == (2, 2)


def test_relative_steps_are_shares_of_the_norm_of_theta() -> None:
    grid = build_grid(3, origin="center", step=0.25, unit="relative", theta_norm=6.0)
    assert grid.a.tolist() == grid.b.tolist() == [-1.5, 0, 1.5]
    assert grid.step == 1.5


@given(
    st.integers(1, 40), st.sampled_from(["corner", "center"]), STEPS, st.sampled_from(["absolute", "relative"]), STEPS
)
def test_every_coordinate_is_the_designs(
    half: int, origin: Literal["corner", "center"], step: float, unit: Literal["absolute", "relative"], norm: float
) -> None:
    K = 2 * half + 1
    grid = build_grid(K, origin=origin, step=step, unit=unit, theta_norm=norm)
    shift = (K - 1) / 2 if origin == "center" else 0
    expected = [step * (i - shift) * (norm if unit == "relative" else 1) for i in range(K)]
    assert grid.a.dtype == grid.b.dtype == np.float64
    assert grid.a.tolist() == grid.b.tolist() == expected
    assert grid.a[grid.home[0]] == grid.b[grid.home[1]] == 0
    assert grid.step == pytest.approx(grid.a[1] - grid.a[0], rel=1e-9)


def test_axes_are_arrays_of_their_own() -> None:
    grid = build_grid(3, origin="corner", step=1.0, unit="absolute", theta_norm=1.0)
    grid.a[0] = 5
    assert grid.b[0] == 0
