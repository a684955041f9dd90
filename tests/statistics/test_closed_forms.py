"""Surfaces whose statistics a formula gives. The two directions always differ, so a swapped axis shows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.statistics.arrays import statistics_of

# Closed forms and code differ by the rounding of a few hundred operations.
close = pytest.approx
P, Q = 3.0, 0.5


def grid(K, *, home, step=1.0, Kb=None):
    a = step * (np.arange(K)[:, None] - home)
    b = step * (np.arange(Kb or K)[None, :] - home)
    return a, b


def test_slope_of_a_plane_is_exact_in_the_corner_and_at_the_centre():
    for home in (0, 3):
        a, b = grid(7, home=home, step=0.25)
        values = statistics_of(500 + 3 * a + 100 * b, home=(home, home), step=0.25)
        assert values["slope_at_minimum"] == close(math.hypot(3, 100))


def test_plane_is_convex_without_minima_and_turns_over_at_theta():
    a, b = grid(5, home=2)
    values = statistics_of(3 * a + 100 * b, home=(2, 2))
    assert values["convex_fraction"] == 1
    assert values["local_minima"] == 1
    assert values["total_persistence"] == 0
    # |f(x) - f(-x)| = 2 |f(x)| everywhere
    assert values["point_asymmetry"] == close(2)
    assert values["half_rise_radius"] is None  # the edges' median is S0


def test_plane_on_a_corner_grid():
    a, b = grid(3, home=0)
    values = statistics_of(3 * a + 100 * b)
    # mean |3 a + 100 b - 3 b - 100 a| = 97 mean |i - j| = 97 * 8/9; mean of S = 103
    assert values["axis_asymmetry"] == close(97 * 8 / 9 / 103)
    assert values["point_asymmetry"] is None
    assert values["loss_mean"] == close(103)
    assert values["loss_median"] == close(103)
    assert (values["loss_at_minimum"], values["loss_min"], values["loss_max"]) == (0, 0, 206)


def test_bowl_in_the_corner():
    step = 0.5
    a, b = grid(11, home=0, step=step)
    values = statistics_of(P * a**2 + Q * b**2, step=step)
    # one step forward: (P step, Q step)
    assert values["slope_at_minimum"] == close(step * math.hypot(P, Q))
    # m = 10 steps: radius 1, 2.5 and 5 steps. The steepest points within: (1, 0), (2, 1) and (5, 0).
    assert values["sharpness_0.1"] == close(100 * P * 0.25)
    assert values["sharpness_0.25"] == close(100 * (4 * P + Q) * 0.25)
    assert values["sharpness_0.5"] == close(100 * 25 * P * 0.25)
    # 3 a^2 + b^2 / 2 <= t is 6 i^2 + j^2 <= 8 t: t = 0.1: j = 0; 0.5: j <= 2; 1: j <= 2 at i = 0 and j <= 1 at i = 1
    assert values["low_loss_fraction_0.1"] == close(1 / 121)
    assert values["low_loss_fraction_0.5"] == close(3 / 121)
    assert values["low_loss_fraction_1.0"] == close(5 / 121)
    assert values["convex_fraction"] == 1
    assert values["local_minima"] == 1


def test_bowl_is_less_alike_along_its_axes_the_more_its_curvatures_differ():
    a, b = grid(3, home=0)
    values = statistics_of(P * a**2 + Q * b**2)
    # mean |i^2 - j^2| = 16/9, mean (P i^2 + Q j^2) = (P + Q) 5/3
    assert values["axis_asymmetry"] == close((P - Q) / (P + Q) * (16 / 9) / (5 / 3))


def test_bowl_around_the_centre():
    a, b = grid(9, home=4, step=0.5)
    values = statistics_of(0.25 + P * a**2 + Q * b**2, home=(4, 4), step=0.5)
    assert values["slope_at_minimum"] == 0
    assert values["point_asymmetry"] == 0
    assert values["convex_fraction"] == 1
    # m = 4: radius 2 steps = 1 unit; relative to 1 + S0 = 1.25
    assert values["sharpness_0.5"] == close(100 * P / 1.25)
    assert values["sharpness_0.25"] == close(100 * P * 0.25 / 1.25)
    assert values["sharpness_0.1"] == 0  # 0.4 steps: theta* alone


def test_sharpness_does_not_see_beyond_its_radius():
    a, b = grid(11, home=5)
    losses = np.where(np.sqrt(a**2 + b**2) <= 2.5, 1.0, 1e6)
    losses[5, 5] = 0
    values = statistics_of(losses, home=(5, 5))
    assert values["sharpness_0.5"] == close(100)


@pytest.mark.parametrize("m", [10, 30, 50])
def test_sharpness_reaches_its_share_of_the_grid(m):
    a, _ = grid(m + 1, home=0)
    values = statistics_of(a + np.zeros((1, m + 1)))
    assert values["sharpness_0.1"] == close(100 * (m // 10))
    assert values["sharpness_0.25"] == close(100 * (m // 4))
    assert values["sharpness_0.5"] == close(100 * (m // 2))


def test_roughness_where_the_logarithm_is_a_bowl():
    a, b = grid(6, home=0, step=0.5)
    p, q = 0.2, 0.05
    values = statistics_of(np.expm1(p * a**2 + q * b**2), step=0.5)
    # second differences 2 p step^2 and 2 q step^2, as many of one as of the other; range (p + q) (5 step)^2
    assert values["roughness"] == close(math.sqrt(2 * (p**2 + q**2)) * 0.25 / ((p + q) * 6.25), rel=1e-9)


def test_roughness_pools_the_axes_of_an_oblong_surface():
    a, b = grid(3, home=0, Kb=5)
    values = statistics_of(np.expm1(0.1 * a**2 + 0.3 * b))
    # 5 differences of 0.2 along a, 9 of 0 along b; range 0.4 + 1.2
    assert values["roughness"] == close(math.sqrt(5 * 0.04 / 14) / 1.6, rel=1e-9)


def test_roughness_of_losses_near_zero_is_that_of_the_losses():
    a, b = grid(3, home=0)
    # log(1 + S) = S to 1e-11; log of the rounded sum would be off by 1e-4
    assert statistics_of(1e-12 * (P * a**2 + Q * b**2))["roughness"] == close(
        math.sqrt(2 * (P**2 + Q**2)) / (4 * (P + Q)), rel=1e-9
    )


def test_roughness_of_an_exponential_plane_is_rounding_only():
    a, b = grid(6, home=0)
    assert statistics_of(np.expm1(0.3 * a + 0.7 * b))["roughness"] == close(0, abs=1e-14)


def test_saddle():
    a, b = grid(5, home=2)
    values = statistics_of(a**2 - b**2, home=(2, 2))
    assert values["convex_fraction"] == 0
    # the ends of the valley, (0, -2) and (0, 2), at -4; they meet at 0; R = 8
    assert values["local_minima"] == 2
    assert values["total_persistence"] == close(4 / 8)
    assert values["slope_at_minimum"] == 0
    assert values["point_asymmetry"] == 0
    # S - S^T = 2 (a^2 - b^2) = 2 (S - S0)
    assert values["axis_asymmetry"] == close(2)


def test_mixed_derivative_alone_makes_a_saddle():
    a, b = grid(5, home=2)
    assert statistics_of(a * b, home=(2, 2))["convex_fraction"] == 0
    # eigenvalues 2 +- 1.9 and 2 +- 2.1
    assert statistics_of(a**2 + b**2 + 1.9 * a * b, home=(2, 2))["convex_fraction"] == 1
    assert statistics_of(a**2 + b**2 + 2.1 * a * b, home=(2, 2))["convex_fraction"] == 0


def test_valley_counts_as_convex_within_the_tolerance():
    a, b = grid(5, home=2, step=0.5)
    for bend, convex in ((0.0, 1), (-0.9, 1), (-1.1, 0)):
        # second difference along b in units of R is `bend` 1e-6; R = 1 to within 1e-6
        values = statistics_of(a**2 + bend * 0.5e-6 * (b / 0.5) ** 2, home=(2, 2), step=0.5)
        assert values["convex_fraction"] == convex


@pytest.mark.parametrize(("K", "Kb"), [(17, 17), (17, 9)])
def test_rippled_bowl_has_as_many_minima_as_ripples(K, Kb):
    a = 0.25 * (np.arange(K)[:, None] - K // 2)
    b = 0.25 * (np.arange(Kb)[None, :] - Kb // 2)
    losses = 0.1 * a**2 + 0.13 * b**2 + 2 - np.cos(2 * np.pi * a) - np.cos(2 * np.pi * b)
    values = statistics_of(losses, home=(K // 2, Kb // 2), step=0.25)
    expected = ((K - 1) // 4 + 1) * ((Kb - 1) // 4 + 1)  # one for each whole number
    assert values["local_minima"] == expected == strict_minima(losses)


def test_ripples_below_a_hundredth_of_the_range_do_not_count():
    a, b = grid(17, home=8, step=0.25)
    bowl, ripple = a**2 + 0.5 * b**2, np.cos(2 * np.pi * a)
    flat = statistics_of(bowl - 0.02 * ripple, home=(8, 8), step=0.25)
    assert strict_minima(bowl - 0.6 * ripple) > 1
    assert (flat["local_minima"], flat["total_persistence"]) == (1, 0)
    assert statistics_of(bowl - 2 * ripple, home=(8, 8), step=0.25)["local_minima"] > 1


def test_persistence_of_parallel_valleys():
    i = np.arange(9)[:, None]
    b = np.arange(9)[None, :] - 4
    values = statistics_of(i % 2 + 0.1 * b**2, home=(4, 4))
    # five valleys at 0, four ridges whose passes are at 1; R = 1 + 1.6
    assert values["local_minima"] == 5
    assert values["total_persistence"] == close(4 / 2.6)


@pytest.mark.parametrize(("power", "radius"), [(1, 2.0), (2, 2.8)])
def test_half_rise_of_a_cone_in_the_corner(power, radius):
    i, j = grid(5, home=0)
    rings = np.rint(np.sqrt(i**2 + j**2))
    values = statistics_of(0.5 + 10 * rings**power, step=0.1)
    # on the far edges rings 4, 4, 4, 4, 4, 4, 5, 5, 6: their median is 4 (16); half is 2 (8 lies between 4 and 9)
    assert values["half_rise_radius"] == close(radius * 0.1)


def test_half_rise_of_a_cone_around_the_centre():
    i, j = grid(5, home=2)
    rings = np.rint(np.sqrt(i**2 + j**2))
    values = statistics_of(0.5 + 10 * rings**2, home=(2, 2), step=0.1)
    # on the edges 12 points of ring 2 and 4 of ring 3: median 4; half, 2, lies between 1 and 4
    assert values["half_rise_radius"] == close((1 + 1 / 3) * 0.1)


def strict_minima(losses) -> int:
    """Count the points below all of their neighbours, by looking at them."""
    padded = np.pad(losses, 1, constant_values=np.inf)
    neighbours = [padded[2:, 1:-1], padded[:-2, 1:-1], padded[1:-1, 2:], padded[1:-1, :-2]]
    return int(np.sum(np.all([losses < neighbour for neighbour in neighbours], axis=0)))
