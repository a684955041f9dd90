"""Grades: what is the same, what is the same but for rounding, and what isn't."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tmrepro.verification.grades import (
    GRADES,
    Grade,
    grade_accuracy,
    grade_array,
    grade_arrays,
    grade_number,
    grade_value,
    images_that_may_move,
    worst,
)
from tmrepro.verification.verdict import Check, Remarks, Verdict

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64)


@given(number=NUMBERS)
def test_a_number_is_identical_to_itself_only_bit_by_bit(number: float) -> None:
    assert grade_number(number, number) == "identical"
    assert grade_number(math.nextafter(number, math.inf), number) in {"equal", "different"}


@pytest.mark.parametrize(
    ("value", "expected", "grade"),
    [
        (1.0001, 1.0, "equal"),
        (1.000102, 1.0, "different"),
        (0.9999, 1.0, "equal"),
        (-1.0, 1.0, "different"),
        (1e-6, 0.0, "equal"),
        (1.1e-6, 0.0, "different"),
        (0.0, -0.0, "equal"),
        (20000.9, 20000.0, "equal"),
        (None, None, "identical"),
        (None, 0.0, "different"),
        (0.0, None, "different"),
        (3, 3.0, "identical"),
        (True, 1.0, "different"),
        ("1.0", 1.0, "different"),
        (10**400, 1.0, "different"),
        (math.nan, 1.0, "different"),
        (math.inf, math.inf, "identical"),
        (math.inf, -math.inf, "different"),
    ],
)
def test_numbers_are_graded_by_the_stated_tolerance(value: object, expected: object, grade: Grade) -> None:
    assert grade_number(value, expected) == grade


@pytest.mark.parametrize(
    ("value", "expected", "grade"),
    [
        (10**9, 10**9 + 1, "different"),
        (1e9, 1e9 + 1, "equal"),
        (10**9, 1e9 + 1, "equal"),
        ("TM", "TM", "identical"),
        ("TM", "GM", "different"),
        ((1, 2), (1, 2), "identical"),
        (True, 1, "different"),
        (None, None, "identical"),
        (None, "TM", "different"),
    ],
)
def test_only_floats_have_a_tolerance(value: object, expected: object, grade: Grade) -> None:
    assert grade_value(value, expected) == grade


def test_of_several_arrays_the_worst_is_named() -> None:
    expected = {name: np.ones(3) for name in ("a", "b", "c")}
    values = {"a": np.ones(3), "b": np.array([1, 1, 1.00005]), "c": np.array([1, 1.5, 1])}
    assert grade_arrays(expected, expected)[0] == "identical"
    grade, words = grade_arrays(values, expected)
    assert (grade, words.partition(":")[0]) == ("different", "c")
    grade, words = grade_arrays(values, expected, absolute={"c": 1.0})
    assert (grade, words.partition(":")[0]) == ("equal", "b")
    assert grade_arrays({"a": np.ones(3)}, expected)[0] == "different"


@given(expected=NUMBERS.filter(lambda x: abs(x) < 1e300), share=st.floats(-0.99, 0.99))
def test_within_the_tolerance_is_equal_and_twice_as_far_is_different(expected: float, share: float) -> None:
    tolerance = 1e-4 * abs(expected) + 1e-6
    assert grade_number(expected + share * tolerance, expected) in {"identical", "equal"}
    assert grade_number(expected + 2 * tolerance, expected) == "different"


@given(values=arrays.arrays(np.float64, (3, 2), elements=st.floats(-1e6, 1e6)))
def test_an_array_is_as_good_as_its_worst_number(values: np.ndarray) -> None:
    expected = values[::-1].copy()
    each = [grade_number(float(a), float(b)) for a, b in zip(values.ravel(), expected.ravel(), strict=True)]
    assert grade_array(values, expected)[0] == worst(each)


def test_the_largest_difference_is_named() -> None:
    expected = np.arange(6.0).reshape(2, 3)
    values = expected.copy()
    values[1, 2], values[0, 1] = 5.5, 1.1
    assert grade_array(values, expected) == ("different", "largest difference at (1, 2): 5.5, expected 5")


def test_every_nan_is_the_same_and_infinities_are_not() -> None:
    other_nan = struct.unpack("<d", struct.pack("<Q", 0xFFF8000000000123))[0]
    expected = np.array([np.nan, np.inf, -np.inf, 1.0])
    assert grade_array(np.array([other_nan, np.inf, -np.inf, 1.0]), expected)[0] == "identical"
    assert grade_array(np.array([np.nan, np.inf, -np.inf, 1.0 + 1e-9]), expected)[0] == "equal"
    assert grade_array(np.array([np.nan, np.inf, np.inf, 1.0]), expected) == (
        "different",
        "differs at (2): inf, expected -inf",
    )
    assert grade_array(np.array([0.0, np.inf, -np.inf, 1.0]), expected)[0] == "different"
    assert grade_array(np.array([np.nan, 1e308, -np.inf, 1.0]), expected)[0] == "different"


def test_arrays_of_two_shapes_differ() -> None:
    assert grade_array(np.zeros((2, 3)), np.zeros((3, 2)))[0] == "different"
    assert grade_array(np.zeros(0), np.zeros(0))[0] == "identical"


def test_an_accuracy_may_move_by_few_images_on_another_platform() -> None:
    assert images_that_may_move(60) == 1
    assert images_that_may_move(50_000) == 5
    assert grade_accuracy(30 / 60, 31 / 60, images=60) == "equal"
    assert grade_accuracy(30 / 60, 32 / 60, images=60) == "different"
    assert grade_accuracy(0.5, 0.5, images=60) == "identical"
    assert grade_accuracy(None, 0.5, images=60) == "different"


@given(grades=st.lists(st.sampled_from(GRADES), min_size=1))
def test_a_strong_failure_is_never_hidden_behind_weaker_passes(grades: list[Grade]) -> None:
    checks = tuple(Check("audit", str(index), grade, "") for index, grade in enumerate(grades))
    verdict = Verdict("run", "audit", None, checks)
    assert verdict.grade == grades[int(np.argmax([GRADES.index(grade) for grade in grades]))]
    assert verdict.passed == (not {"different", "litter", "damaged"} & set(grades))
    expected = 3 if {"damaged", "litter"} & set(grades) else (1 if "different" in grades else 0)
    assert verdict.exit_code == expected


def test_remarks_add_up() -> None:
    assert Remarks(("a",), ("b",)) + Remarks(("c",)) == Remarks(("a", "c"), ("b",))
