"""Grids small enough to work out on paper, mostly those with something missing."""

from __future__ import annotations

import math

import pytest

from tests.statistics.arrays import statistics_of

nan, inf = math.nan, math.inf
close = pytest.approx

RELATIVE_TO_THETA = [
    "loss_at_minimum",
    "depth_below_minimum",
    "slope_at_minimum",
    "sharpness_0.1",
    "sharpness_0.25",
    "sharpness_0.5",
    "low_loss_fraction_0.1",
    "low_loss_fraction_0.5",
    "low_loss_fraction_1.0",
    "half_rise_radius",
    "axis_asymmetry",
    "point_asymmetry",
]


def test_oblong_grid_a_plus_100_b():
    values = statistics_of([[0, 100, 200], [1, 101, 201]])
    assert values == {
        "loss_at_minimum": 0,
        "depth_below_minimum": 0,
        "loss_min": 0,
        "loss_max": 201,
        "loss_mean": 100.5,
        "loss_median": 100.5,
        "non_finite": 0,
        "slope_at_minimum": close(math.hypot(1, 100)),
        "sharpness_0.1": 0,  # m = 1, counted along a: theta* alone, whatever the share
        "sharpness_0.25": 0,
        "sharpness_0.5": 0,
        "low_loss_fraction_0.1": close(1 / 6),
        "low_loss_fraction_0.5": close(1 / 6),
        "low_loss_fraction_1.0": close(2 / 6),
        "half_rise_radius": None,  # ring 1 has a mean of 202/3; half the rise to the edges' median 150.5 is above it
        "roughness": close(
            math.sqrt(
                ((math.log(201) - 2 * math.log(101)) ** 2 + (math.log(202) - 2 * math.log(102) + math.log(2)) ** 2) / 2
            )
            / math.log(202)
        ),
        "local_minima": 1,
        "total_persistence": 0,
        "axis_asymmetry": None,  # there is no S^T to subtract
        "point_asymmetry": None,
        "convex_fraction": None,  # there is no interior
        "error_over_bound": None,  # nobody measured it
    }


def test_oblong_grid_100_a_plus_b():
    values = statistics_of([[0, 1], [100, 101], [200, 201]], step=2.0)
    # m = 2: sharpness_0.5 sees (1, 0) and (0, 1)
    assert values["sharpness_0.25"] == 0
    assert values["sharpness_0.5"] == close(100 * 100)
    # ring 1: 1, 100, 101; ring 2: 200, 201; far edges: 200, 201, 1, 101 with median 150.5
    assert values["half_rise_radius"] == close(2 * (1 + (75.25 - 202 / 3) / (200.5 - 202 / 3)))
    assert values["slope_at_minimum"] == close(math.hypot(100, 1) / 2)


def test_smallest_grid():
    values = statistics_of([[0, 1], [4, 3]])
    assert values["slope_at_minimum"] == close(math.hypot(4, 1))
    assert values["loss_median"] == 2
    # the far edges are 4, 3, 1: median 3, half 1.5; ring 1 (m = 1) takes in all three: mean 8/3
    assert values["half_rise_radius"] == close(1.5 / (8 / 3))
    # S - S^T = +-3 at two of four points; mean |S - S0| = 2
    assert values["axis_asymmetry"] == close(1.5 / 2)
    assert values["local_minima"] == 1
    # no three points in a row, no interior
    assert values["roughness"] is None
    assert values["convex_fraction"] is None


def test_points_that_are_not_finite_are_left_out_and_counted():
    values = statistics_of([[1, 2, 4], [nan, 3, inf], [5, -inf, 9]])
    assert values["non_finite"] == 3
    assert values["loss_mean"] == close(24 / 6)
    assert values["loss_median"] == 3.5
    assert (values["loss_min"], values["loss_max"]) == (1, 9)
    assert values["slope_at_minimum"] is None  # needs the nan
    assert values["sharpness_0.5"] == close(100 * (2 - 1) / 2)
    # {S <= 2} is (0, 0) and (0, 1), out of nine
    assert values["low_loss_fraction_1.0"] == close(2 / 9)
    # pairs: the diagonal (0, 0, 0) and 4 with 5, twice; mean |S - S0| = (0 + 1 + 3 + 2 + 4 + 8) / 6
    assert values["axis_asymmetry"] == close((2 / 5) / 3)
    # the far edges hold 4, 5, 9: median 5, half 3; ring 1 (radius 1 and 1.41) has 2 and 3, mean 2.5;
    # ring 2 (radius 2 and 2.24) has 4 and 5, mean 4.5
    assert values["half_rise_radius"] == close(1 + 0.5 / 2)
    # the first row and no other line of three is whole
    assert values["roughness"] == close(abs(math.log(2) - 2 * math.log(3) + math.log(5)) / math.log(10 / 2))
    # 9 is walled off: its bar never ends. 5 as well.
    assert (values["local_minima"], values["total_persistence"]) == (1, 0)
    assert values["convex_fraction"] is None


def test_wall_with_a_gate():
    values = statistics_of([[0, nan, 2], [4, 6, 3], [5, inf, 1]])
    # (2, 2) at 1 and (0, 2) at 2 meet at 3, then (0, 0) and they at 6: bars 1 and 5, R = 6
    assert values["local_minima"] == 3
    assert values["total_persistence"] == close((1 + 5) / 6)


@pytest.mark.parametrize("at_theta", [nan, inf, -inf])
def test_loss_at_theta_that_is_not_finite_leaves_nothing_relative_to_it(at_theta):
    losses = [[1, 2, 4], [2, at_theta, 5], [3, 6, 9]]
    values = statistics_of(losses, home=(1, 1))
    assert {name for name, value in values.items() if value is None} == {
        *RELATIVE_TO_THETA,
        "convex_fraction",
        "error_over_bound",
    }
    assert values["loss_mean"] == 4


def test_a_plane_goes_below_its_minimum():
    assert statistics_of([[3, nan, 2.5], [1.25, -inf, 9]])["depth_below_minimum"] == 1.75
    assert statistics_of([[1.25, 3], [2, 9]])["depth_below_minimum"] == 0


@pytest.mark.parametrize("loss", [nan, inf, -inf])
def test_nothing_is_known_of_a_surface_without_a_finite_point(loss):
    values = statistics_of([[loss] * 3] * 3)
    assert values.pop("non_finite") == 9
    assert set(values.values()) == {None}


@pytest.mark.parametrize("loss", [0.0, 2.5, 1e300])
@pytest.mark.parametrize("home", [(0, 0), (1, 1)])
def test_flat_surface(loss, home):
    values = statistics_of([[loss] * 3] * 3, home=home)
    assert values["slope_at_minimum"] == 0
    assert values["sharpness_0.5"] == 0
    assert values["low_loss_fraction_0.1"] == 1
    assert values["convex_fraction"] == 1
    assert values["local_minima"] == 1
    # nothing rises, and 0/0 is nothing
    for name in ("half_rise_radius", "roughness", "total_persistence", "axis_asymmetry", "point_asymmetry"):
        assert values[name] is None, name


def test_low_region_ends_where_it_does_not_hang_together():
    losses = [
        [0.0, 0.1, 9.0, 0.0],
        [9.0, 0.4, 9.0, 0.0],
        [0.0, 9.0, 0.9, 0.0],
        [0.0, 0.0, 1.1, 0.0],
    ]  # (1, 1) and (2, 2) touch at a corner only
    values = statistics_of(losses)
    assert values["low_loss_fraction_0.1"] == close(2 / 16)
    assert values["low_loss_fraction_0.5"] == close(3 / 16)
    assert values["low_loss_fraction_1.0"] == close(3 / 16)


def test_low_region_may_lie_below_theta():
    values = statistics_of([[5.0, 1.0, 2.0], [8.0, 8.0, 3.0], [8.0, -inf, 4.0]])
    assert values["low_loss_fraction_0.1"] == close(5 / 9)


def test_no_half_rise_where_the_edges_lie_below_theta():
    assert statistics_of([[5, 9, 1], [9, 9, 2], [1, 2, 3]])["half_rise_radius"] is None


def test_no_half_rise_where_the_ring_before_it_is_missing():
    values = statistics_of([[0, nan, 4], [nan, nan, 4], [4, 4, 4]])
    assert values["half_rise_radius"] is None


def test_half_rise_takes_the_first_ring_that_reaches_it():
    # ring 1 is above half (2) already, ring 2 below it again; far edges: 4, 4, 4, 0, 0
    values = statistics_of([[0, 8, 0], [8, 8, 4], [0, 4, 4]], step=3.0)
    assert values["half_rise_radius"] == close(3 * 2 / 8)


def test_half_rise_may_be_met_exactly():
    # far edges -20, -20, 4, 4, 4; ring 1 is 2 on the spot, ring 2 falls to -8
    assert statistics_of([[0, 2, 4], [2, 2, -20], [-20, 4, 4]])["half_rise_radius"] == 1


def test_half_rise_that_rounding_swallows_is_at_theta():
    above = math.nextafter(1, 2)
    assert statistics_of([[1, above], [above, above]])["half_rise_radius"] == 0


def test_edges_that_touch_theta_do_not_count():
    # the edges through theta* hold the 100s; the far ones 2, 2, 2, 2 and, where they meet a near one, 100
    values = statistics_of([[0, 100, 100], [100, 1, 2], [100, 2, 2]])
    # median of 100, 2, 2, 2, 100 is 2, half is 1; ring 1 has 100, 100, 1
    assert values["half_rise_radius"] == close(1 / 67)


def test_theta_anywhere_on_the_grid():
    losses = [[0, 1, 4], [1, 3, 8], [5, 7, 20], [9, 13, 21]]
    # backward at the last index, central inside
    assert statistics_of(losses, home=(3, 1))["slope_at_minimum"] == close(math.hypot(13 - 7, (21 - 9) / 2))
    assert statistics_of(losses, home=(1, 2))["slope_at_minimum"] == close(math.hypot((20 - 4) / 2, 8 - 3))
    # home (3, 1): only the bottom edge touches it; the others hold 0, 1, 4, 1, 8, 5, 20, 9, 21 with median 5 < 13
    assert statistics_of(losses, home=(3, 1))["half_rise_radius"] is None
    # home (1, 0): edges 0, 1, 4, 8, 20, 21, 9, 13: median 8.5, S0 = 1, half 4.75; ring 1: 0, 1, 3, 5, 7, mean 3.2;
    # ring 2: (0, 2), (1, 2), (2, 2), (3, 0), (3, 1): 4, 8, 20, 9, 13, mean 10.8
    assert statistics_of(losses, home=(1, 0))["half_rise_radius"] == close(1 + (4.75 - 3.2) / (10.8 - 3.2))


def test_convexity_is_a_share_of_the_interior_points_that_are_whole():
    losses = [
        [4, 1, 0, -1, 0, 1],
        [4, 1, 0, 1, 0, 1],
        [4, 1, 0, -1, 0, nan],
    ]
    # second differences along b at the middle row: 2, 2, -2 and, not whole, 2; along a they are 0, 0, -4
    assert statistics_of(losses)["convex_fraction"] == close(2 / 3)


def test_losses_at_or_below_minus_one_have_no_logarithm():
    values = statistics_of([[0, 1, 3, 7], [-1, -2, 7, 1]])
    # 0, ln 2, ln 4, ln 8: even steps; the second row has three in a row nowhere
    assert values["roughness"] == close(0, abs=1e-15)
    below = statistics_of([[-1, 2], [3, 4]])
    assert below["sharpness_0.5"] is None


def test_soft_labels_may_round_below_zero():
    values = statistics_of([[-1e-9, 1, 2], [1, 2, 3], [2, 3, 4]])
    assert values["sharpness_0.5"] == close(100, rel=1e-6)


def test_values_beyond_float64_are_undefined_not_infinite():
    values = statistics_of([[-1.7e308, 1.7e308, 0], [0, 0, 0], [0, 0, 1.7e308]])
    for name in ("local_minima", "total_persistence", "convex_fraction", "slope_at_minimum"):
        assert values[name] is None, name


def test_huge_losses_are_still_measured():
    values = statistics_of([[0, 3e300, 0], [4e300, 0, 0], [0, 0, 2e300]])
    assert values["slope_at_minimum"] == close(5e300)
    assert values["loss_mean"] == close(1e300)
    assert values["axis_asymmetry"] == close(2 / 9)
