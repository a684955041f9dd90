"""The scale of a band: converts numbers to places on the scale, and intervals on the scale to numbers.

A band is measured on the scale of its number, and reported in the unit of the number. It is cut to the range of the number,
so that no band of an accuracy ends at 1.03.
"""

from __future__ import annotations

import math

from tmrepro.statistics.ranges import Range

LARGEST_EXPONENT = 700.0  # larger powers of e overflow a float
# A band judges nothing if it covers this share of the range of its number, or spans more than this factor.
WIDEST_SHARE = 0.9
WIDEST_FACTOR = 1000.0
JUDGES_NOTHING = f"over {WIDEST_SHARE:.0%} of the range of the number, or a factor of more than {WIDEST_FACTOR:.0f}"


def has_place(value: float, range_: Range) -> bool:
    """Return whether `value` has a place on the scale of `range_`: 0 has no logarithm, unless there is a floor."""
    floor = range_.floor or 0.0
    match range_.scale:
        case "log":
            return max(value, floor) > 0
        case "logit":
            return 0 <= value <= 1 and max(value, floor) > 0 and min(value, 1 - floor) < 1
        case "linear":
            return True


def place(value: float, range_: Range) -> float:
    """Return `value` on the scale of `range_`; infinite if it is at an end of the scale."""
    floor = range_.floor or 0.0
    match range_.scale:
        case "log":
            value = max(value, floor)
            return math.log(value) if value > 0 else -math.inf
        case "logit":
            value = min(max(value, floor), 1 - floor)
            return math.log(value / (1 - value)) if 0 < value < 1 else math.copysign(math.inf, value - 0.5)
        case "linear":
            return value


def place_back(at: float, range_: Range) -> float:
    """Return the number at a place of the scale, in its own unit; the inverse of `place`."""
    at_most = max(-LARGEST_EXPONENT, min(at, LARGEST_EXPONENT))
    match range_.scale:
        case "log":
            return math.exp(at_most)
        case "logit":
            return 1 / (1 + math.exp(-at_most))
        case "linear":
            return at


def slope(value: float, range_: Range) -> float:
    """Return how far the place moves for a small change of `value`, per unit of `value`."""
    floor = range_.floor or 0.0
    match range_.scale:
        case "log":
            return 1 / max(value, floor)
        case "logit":
            value = min(max(value, floor), 1 - floor)
            return 1 / (value * (1 - value))
        case "linear":
            return 1.0


def band_ends(mean: float, reach: float, range_: Range) -> tuple[float, float]:
    """Return both ends of a band around a place, in the number's unit and within its range.

    An end at or below the floor becomes the end of the scale: the band includes everything beyond it.
    """
    low, high = mean - reach, mean + reach
    least, most = _number(range_.least, -math.inf), _number(range_.most, math.inf)
    return (
        least if low <= place(least, range_) else max(least, place_back(low, range_)),
        most if high >= place(most, range_) else min(most, place_back(high, range_)),
    )


def judges_nothing(low: float, high: float, range_: Range) -> bool:
    """Return whether a band is so wide that it cannot find an error."""
    least, most = _number(range_.least, -math.inf), _number(range_.most, math.inf)
    if math.isfinite(most - least) and high - low >= WIDEST_SHARE * (most - least):
        return True
    return range_.scale == "log" and high > WIDEST_FACTOR * max(low, range_.floor or 0.0)


def within(low: float, high: float, range_: Range) -> tuple[float, float]:
    """Return the part of a band that is within the range of the number; empty (low above high) if there is none."""
    return max(low, _number(range_.least, -math.inf)), min(high, _number(range_.most, math.inf))


def _number(end: float | str, unknown: float) -> float:
    """Return an end of a range. An end that depends on an unknown size limits nothing."""
    return unknown if isinstance(end, str) else end
