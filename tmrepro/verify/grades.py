"""How well two numbers, arrays or pictures agree (design, section 6)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from tmrepro.verify.verdict import GRADES, Grade

RELATIVE = 1e-4  # another platform: the same numbers but for rounding
ABSOLUTE = 1e-6
PIXELS_DIFFERENT = 0.01  # share of a figure's pixels that rounding may move


@dataclass(frozen=True)
class Band:
    """Where a statistic of another replicate lies with the reference's confidence; measured on n replicates."""

    n: int
    mean: float
    deviation: float
    low: float
    high: float
    scale: str


def worst(grades: list[Grade]) -> Grade:
    """The worst of some grades; identical if there is none."""
    return max(grades, key=GRADES.index, default="identical")


def grade_number(value: float | None, expected: float | None, *, band: Band | None = None) -> Grade:
    """Grade a number against the expected one; None is undefined and agrees with None only."""
    if value is None or expected is None:
        return "identical" if value is expected else "different"
    if value == expected and math.copysign(1, value) == math.copysign(1, expected):
        return "identical"
    if abs(value - expected) <= RELATIVE * abs(expected) + ABSOLUTE:
        return "equal"
    return "consistent" if band is not None and band.low <= value <= band.high else "different"


def grade_array(values: Float64[np.ndarray, ...], expected: Float64[np.ndarray, ...]) -> tuple[Grade, str]:
    """Grade an array, with the largest difference in words. Non-finite values must be the same ones."""
    if values.shape != expected.shape:
        return "different", f"shape {values.shape}, expected {expected.shape}"
    if values.tobytes() == expected.tobytes():
        return "identical", f"{values.size} numbers, all bits"
    finite = np.isfinite(values) & np.isfinite(expected)
    with np.errstate(invalid="ignore", over="ignore"):
        odd = ~finite & ~((values == expected) | (np.isnan(values) & np.isnan(expected)))
        excess = np.where(finite, np.abs(values - expected) - RELATIVE * np.abs(expected) - ABSOLUTE, 0.0)
    if odd.any():
        where = tuple(int(index) for index in np.argwhere(odd)[0])
        return "different", f"at {where}: {values[where]}, expected {expected[where]}"
    at = tuple(int(index) for index in np.unravel_index(int(np.argmax(excess)), excess.shape))
    detail = f"at {at}: {values[at]:.9g}, expected {expected[at]:.9g}"
    return ("equal" if excess[at] <= 0 else "different"), f"largest difference {detail}"
