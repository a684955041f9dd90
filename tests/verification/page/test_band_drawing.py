"""Where a band and its numbers lie on their line: in order, to scale, on the line or with an arrow."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrepro.verification.bands import Band
from tmrepro.verification.drawing import draw_band


def linear(low: float, high: float) -> Band:
    return Band(5, (low + high) / 2, 1.0, low, high, "linear")


def logarithmic(low: float, high: float) -> Band:
    return Band(5, (math.log(low) + math.log(high)) / 2, 1.0, low, high, "log")


def test_line_is_to_scale():
    picture = draw_band(linear(10.0, 20.0), value=12.0, expected=25.0)
    per_unit = (picture.high.at - picture.low.at) / 10
    assert picture.mean.at - picture.low.at == pytest.approx(5 * per_unit)
    assert picture.value.at - picture.low.at == pytest.approx(2 * per_unit)
    assert picture.expected.at - picture.low.at == pytest.approx(15 * per_unit)


def test_line_of_logarithms_is_to_scale():
    picture = draw_band(logarithmic(1e-4, 1.0), value=1e-3, expected=10.0)
    per_decade = (picture.high.at - picture.low.at) / 4
    assert picture.mean.at - picture.low.at == pytest.approx(2 * per_decade)
    assert picture.value.at - picture.low.at == pytest.approx(per_decade)
    assert picture.expected.at - picture.low.at == pytest.approx(5 * per_decade)


numbers = st.floats(-1e6, 1e6)


@given(numbers, st.floats(1e-3, 1e6), numbers, numbers)
def test_marks_stand_on_the_line_in_the_order_of_their_numbers(low, width, value, expected):
    band = linear(low, low + width)
    picture = draw_band(band, value=value, expected=expected)
    marks = {band.low: picture.low, band.mean: picture.mean, band.high: picture.high, value: picture.value}
    marks[expected] = picture.expected
    places = [marks[number].at for number in sorted(marks)]
    assert all(0 <= place <= 1 for place in places)
    assert places == sorted(places)
    assert picture.low.beyond == picture.high.beyond == 0
    for number, mark in ((value, picture.value), (expected, picture.expected)):
        assert (mark.beyond != 0) <= (number < band.low or number > band.high)
        assert mark.beyond == 0 or mark.at == (mark.beyond + 1) / 2


def test_number_far_away_is_an_arrow_and_leaves_the_band_its_size():
    picture = draw_band(linear(0.0, 1.0), value=1e9, expected=-1e9)
    assert (picture.value.beyond, picture.expected.beyond) == (1, -1)
    assert picture.high.at - picture.low.at > 0.5


@pytest.mark.parametrize("value", [0.0, -1.0, 0])
def test_number_without_a_logarithm_lies_beyond_the_left_end(value):
    picture = draw_band(logarithmic(0.1, 10.0), value=value, expected=1.0)
    assert (picture.value.at, picture.value.beyond) == (0.0, -1)
    assert picture.expected.at == pytest.approx(picture.mean.at)


def test_undefined_number_has_no_mark():
    picture = draw_band(linear(0.0, 1.0), value=None, expected=None)
    assert picture.value is None
    assert picture.expected is None


@pytest.mark.parametrize("at", [0.0, 3.0, -1e5])
def test_band_without_width_stands_in_the_middle(at):
    picture = draw_band(linear(at, at), value=at, expected=at)
    assert picture.low.at == picture.high.at == picture.value.at == pytest.approx(0.5)


def test_lower_end_that_rounded_to_zero_is_as_far_from_the_mean_as_the_upper():
    picture = draw_band(Band(3, 0.0, 1.0, 0.0, math.exp(600), "log"), value=1.0, expected=1.0)
    assert picture.mean.at - picture.low.at == pytest.approx(picture.high.at - picture.mean.at)


def test_numbers_too_large_to_be_drawn_give_no_picture():
    assert draw_band(linear(-1.7e308, 1.7e308), value=0.0, expected=0.0) is None
