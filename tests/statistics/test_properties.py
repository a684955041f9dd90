"""What holds of any surface."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tests.statistics.arrays import statistics_of
from tmrepro.errors import UsageError

# Odd numbers such as nan, inf, 1e300 and the largest float among plain ones, so that all kinds meet on one surface
anything = st.floats() | st.sampled_from([0.0, -1.0, 1.0, 1e300, -1e300, 1.7e308, 5e-324, math.nan, math.inf])
whole = st.integers(0, 1000).map(float)
shapes = array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7)

ON_THE_LOSS_SCALE = ["loss_at_minimum", "loss_min", "loss_max", "loss_mean", "loss_median", "slope_at_minimum"]
WITHOUT_A_SCALE = ["half_rise_radius", "total_persistence", "axis_asymmetry", "point_asymmetry", "convex_fraction"]
COUNTS = ["non_finite", "local_minima"]

ALL_BUT_ORDER = 1e-9  # two orders of summation of at most 49 numbers, and a mean of ring means less S0


@st.composite
def surfaces(draw, elements, shapes=shapes):
    losses = draw(arrays(np.float64, shapes, elements=elements))
    home = tuple(draw(st.integers(0, size - 1)) for size in losses.shape)
    return losses, home


@st.composite
def square_surfaces(draw, elements):
    K = draw(st.integers(2, 7))
    home = draw(st.sampled_from([0, (K - 1) // 2]))
    return draw(arrays(np.float64, (K, K), elements=elements)), (home, home)


@given(surface=surfaces(anything), step=st.floats(min_value=0, exclude_min=True, allow_infinity=False))
def test_any_surface_has_statistics_that_json_can_hold(surface, step):
    losses, home = surface
    values = statistics_of(losses, home=home, step=step)
    json.dumps(values, allow_nan=False)
    assert all(type(value) in (float, int, type(None)) for value in values.values())
    assert all(type(values[name]) in (int, type(None)) for name in COUNTS)
    assert values["non_finite"] == sum(not math.isfinite(loss) for loss in losses.ravel())


@given(surface=surfaces(st.floats(0, 20) | st.just(math.nan)))
def test_statistics_stay_within_their_bounds(surface):
    losses, home = surface
    values = statistics_of(losses, home=home)
    fractions = [values[f"low_loss_fraction_{rise}"] for rise in ("0.1", "0.5", "1.0")]
    sharpness = [values[f"sharpness_{share}"] for share in ("0.1", "0.25", "0.5")]
    if values["loss_at_minimum"] is not None:
        assert 0 < fractions[0] <= fractions[1] <= fractions[2] <= 1
        assert 0 <= sharpness[0] <= sharpness[1] <= sharpness[2]
    if values["convex_fraction"] is not None:
        assert 0 <= values["convex_fraction"] <= 1
    if values["local_minima"] is not None:
        assert values["local_minima"] >= 1
        assert values["loss_min"] <= values["loss_median"] <= values["loss_max"]
    if values["half_rise_radius"] is not None:
        assert 0 < values["half_rise_radius"] <= losses.shape[0] - 1


@given(surface=square_surfaces(whole | st.just(math.nan)))
def test_swapping_the_directions_changes_nothing(surface):
    losses, home = surface
    swapped = statistics_of(losses.T, home=home)
    for name, value in statistics_of(losses, home=home).items():
        assert swapped[name] == (None if value is None else pytest.approx(value, rel=ALL_BUT_ORDER)), name


@given(surface=square_surfaces(whole))
def test_surface_equal_to_its_mirror_image_has_no_asymmetry(surface):
    losses, home = surface
    assert statistics_of(losses + losses.T, home=home)["axis_asymmetry"] in (0, None)
    assert statistics_of(losses + losses[::-1, ::-1], home=home)["point_asymmetry"] in (0, None)


@given(surface=surfaces(whole | st.just(math.nan)), factor=st.sampled_from([0.25, 2.0, 1024.0]))
def test_scaled_losses_scale_levels_and_leave_shapes(surface, factor):
    losses, home = surface
    scaled = statistics_of(losses * factor, home=home)
    values = statistics_of(losses, home=home)
    for name in ON_THE_LOSS_SCALE:
        # a power of two changes no bit of a sum
        assert scaled[name] == (None if values[name] is None else values[name] * factor), name
    for name in WITHOUT_A_SCALE + COUNTS:
        assert scaled[name] == values[name], name


@given(surface=surfaces(whole | st.just(math.inf)), shift=st.integers(1, 1000))
def test_raised_losses_raise_levels_and_leave_differences(surface, shift):
    losses, home = surface
    raised = statistics_of(losses + shift, home=home)
    values = statistics_of(losses, home=home)
    for name in ("loss_at_minimum", "loss_min", "loss_max", "loss_mean", "loss_median"):
        assert raised[name] == (None if values[name] is None else pytest.approx(values[name] + shift)), name
    differences = [name for name in values if name.startswith("low_loss_fraction")]
    for name in [*differences, *WITHOUT_A_SCALE, *COUNTS, "slope_at_minimum"]:
        assert raised[name] == (None if values[name] is None else pytest.approx(values[name], rel=ALL_BUT_ORDER)), name


@given(surface=surfaces(whole), factor=st.sampled_from([0.25, 2.0, 1024.0]))
def test_only_lengths_depend_on_the_step(surface, factor):
    losses, home = surface
    wide = statistics_of(losses, home=home, step=factor)
    values = statistics_of(losses, home=home, step=1.0)
    if values["half_rise_radius"] is not None:
        assert wide.pop("half_rise_radius") == values.pop("half_rise_radius") * factor
    assert wide.pop("slope_at_minimum") == values.pop("slope_at_minimum") / factor
    assert wide == values


@given(surface=surfaces(whole, shapes=array_shapes(min_dims=2, max_dims=2, min_side=3)), data=st.data())
def test_lost_point_is_counted_and_changes_levels_as_leaving_it_out_would(surface, data):
    losses, home = surface
    lost = tuple(data.draw(st.integers(0, size - 1)) for size in losses.shape)
    losses[lost] = data.draw(st.sampled_from([math.nan, math.inf, -math.inf]))
    rest = np.delete(losses.ravel(), np.ravel_multi_index(lost, losses.shape))
    values = statistics_of(losses, home=home)
    assert values["non_finite"] == 1
    assert values["loss_mean"] == pytest.approx(float(rest.mean()))
    assert (values["loss_min"], values["loss_max"]) == (rest.min(), rest.max())


@pytest.mark.parametrize("home", [(2, 0), (0, 3), (-1, 0)])
def test_theta_outside_the_surface_is_refused(home):
    with pytest.raises(UsageError, match="home: expected the \\(i, j\\) of a point of the 2 x 3 surface"):
        statistics_of(np.zeros((2, 3)), home=home)


@pytest.mark.parametrize("step", [0.0, -1.0, math.nan, math.inf])
def test_step_that_is_no_length_is_refused(step):
    with pytest.raises(UsageError, match="step: expected a finite number above 0"):
        statistics_of(np.zeros((2, 3)), step=step)
