"""Numbers on axes: short, and different where the values are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrepro.reporting.figures.scale import loss_label, loss_labels, loss_scale


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (0.0, "0"),
        (0.05, "0.05"),
        (12.0, "12"),
        (1000.0, "1000"),
        (10_000.0, "10⁴"),
        (9_999.96, "10⁴"),
        (1e-6, "10⁻⁶"),
        (2.5e7, "2.5×10⁷"),
        (-1e-4, "-10⁻⁴"),
        (0.00125, "0.00125"),
        (1e-12, "10⁻¹²"),
    ],
)
def test_one_number_is_written_as_people_do(value, label):
    assert loss_label(value) == label


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.5, 1.0, 1.5], ["0.5", "1.0", "1.5"]),
        ([0.0, 0.25, 0.5], ["0.00", "0.25", "0.50"]),
        ([20.0, 40.0], ["20", "40"]),
        ([100.001, 100.002], ["100.001", "100.002"]),
        ([2e5, 4e5], ["2×10⁵", "4×10⁵"]),
        ([], []),
    ],
)
def test_numbers_of_one_axis_have_as_many_decimals_as_tell_them_apart(values, labels):
    assert loss_labels(values) == labels


@given(
    low=st.floats(1e-8, 1e8),
    factor=st.floats(1.01, 1e9),
    kind=st.sampled_from(["linear", "log"]),
    count=st.integers(5, 18),
)
def test_levels_are_few_ascending_inside_the_range_and_told_apart(low, factor, kind, count):
    scale = loss_scale([np.array([[low, low * factor]])], kind=kind)
    levels = scale.levels(np.array([scale.low, scale.high]), count=count)
    labels = scale.tick_labels(levels)
    assert 1 <= len(levels) <= 1.5 * count
    assert levels == sorted(set(levels))
    assert scale.low < levels[0]
    assert levels[-1] < scale.high
    assert len(set(labels)) == len(labels)


# Between these the sums, powers and matrices of a drawing all overflow somewhere.
any_loss = st.one_of(st.floats(), st.sampled_from([0.0, 5e-324, 1e-308, 1e308, -1e308, 1.7976931348623157e308]))


@given(
    losses=st.lists(any_loss, min_size=2, max_size=5), kind=st.sampled_from(["linear", "log"]), count=st.integers(5, 18)
)
def test_any_losses_have_levels_and_labels(losses, kind, count):
    scale = loss_scale([np.array(losses)], kind=kind)
    levels = scale.levels(scale.heights(np.array(losses)), count=count)
    assert all(scale.low < level < scale.high for level in levels)
    assert len(scale.tick_labels(levels)) == len(levels)
