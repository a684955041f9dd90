"""Grades how well two numbers, arrays or counts agree. The inputs are not trusted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64

# litter: the folder has files of other programs, and is otherwise unchanged.
Grade = Literal["identical", "equal", "consistent", "different", "litter", "damaged"]

GRADES: tuple[Grade, ...] = get_args(Grade)  # from the best to the worst
RELATIVE = 1e-4  # the rounding differences of another platform
ABSOLUTE = 1e-6
# An accuracy is a count: if two logits are almost equal, rounding changes the class of an image. Between float32 and float64,
# which differ more than two platforms do, one image in 83,000 changed. At least one image of any set may change.
IMAGES_MOVED = 1e-4


def worst(grades: Iterable[Grade]) -> Grade:
    """Return the worst of some grades; identical if there is none."""
    return max(grades, key=GRADES.index, default="identical")


def as_number(value: object) -> float | None:
    """Return `value` as a float; None if it is not a number, or too large."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def grade_number(value: object, expected: object) -> Grade:
    """Grade a number against the expected one. None means undefined, and equals only None."""
    if value is None and expected is None:
        return "identical"
    found, wanted = as_number(value), as_number(expected)
    if found is None or wanted is None:
        return "different"
    return grade_array(np.array([found]), np.array([wanted]))[0]


def grade_value(value: object, expected: object) -> Grade:
    """Grade two values, as `grade_number` does if one of them is a float. Others are identical or different: a count is exact."""
    if isinstance(value, float) or isinstance(expected, float):
        return grade_number(value, expected)
    return "identical" if type(value) is type(expected) and value == expected else "different"


def grade_accuracy(value: object, expected: object, *, images: int) -> Grade:
    """Grade a share of `images` against that of another platform: as a number, or with a few images changed."""
    grade = grade_number(value, expected)
    found, wanted = as_number(value), as_number(expected)
    if grade != "different" or found is None or wanted is None:
        return grade
    return "equal" if abs(found - wanted) <= images_that_may_move(images) / images + ABSOLUTE else "different"


def images_that_may_move(images: int) -> int:
    """Return how many of `images` may change between right and wrong on another platform."""
    return max(1, math.ceil(IMAGES_MOVED * images))


def grade_array(
    values: Float64[np.ndarray, ...],
    expected: Float64[np.ndarray, ...],
    *,
    absolute: float = ABSOLUTE,
    relative: float = RELATIVE,
) -> tuple[Grade, str]:
    """Grade an array. The text describes the largest difference. Non-finite values must be equal.

    All nan are equal, because their bit pattern depends on the machine.
    """
    if values.shape != expected.shape:
        return "different", f"shape {list(values.shape)}, expected {list(expected.shape)}"
    values, expected = (np.where(np.isnan(array), np.nan, array) for array in (values, expected))
    if values.tobytes() == expected.tobytes():
        return "identical", f"{values.size} numbers, all bits"
    finite = np.isfinite(values) & np.isfinite(expected)
    odd = ~finite & ~((values == expected) | (np.isnan(values) & np.isnan(expected)))
    if odd.any():
        return "different", _words(values, expected, at=np.argwhere(odd)[0], what="differs")
    excess = np.full(values.shape, -np.inf)
    here, there = values[finite], expected[finite]
    with np.errstate(over="ignore"):
        excess[finite] = np.abs(here - there) - (relative * np.abs(there) + absolute)
    at = np.unravel_index(int(np.argmax(excess)), excess.shape)
    words = _words(values, expected, at=np.array(at), what="largest difference")
    return ("equal" if excess[at] <= 0 else "different"), words


def grade_arrays(
    values: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    *,
    absolute: Mapping[str, float] | None = None,
    relative: Mapping[str, float] | None = None,
) -> tuple[Grade, str]:
    """Grade arrays by name, float64. The text describes the first one of the worst grade.

    `absolute` and `relative` are the tolerances of those that have others than `grade_array`.
    """
    if set(values) != set(expected):
        return "different", f"has {', '.join(values)}; expected {', '.join(expected)}"
    found = {
        name: grade_array(
            array,
            expected[name],
            absolute=(absolute or {}).get(name, ABSOLUTE),
            relative=(relative or {}).get(name, RELATIVE),
        )
        for name, array in values.items()
    }
    grade = worst(one for one, _ in found.values())
    return grade, next(f"{name}: {words}" for name, (one, words) in found.items() if one == grade)


def _words(values: Float64[np.ndarray, ...], expected: Float64[np.ndarray, ...], *, at: np.ndarray, what: str) -> str:
    where = tuple(int(index) for index in at)
    shown = ", ".join(str(index) for index in where)
    return f"{what} at ({shown}): {values[where]:.9g}, expected {expected[where]:.9g}"
