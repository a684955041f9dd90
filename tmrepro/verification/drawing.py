"""A statistic's band as a picture: the positions of band, mean, reference and value on one line.

This module computes only positions, as shares of the line's length; the page draws them. The line includes all of them with a
margin, but it is limited so that the band stays visible. A number beyond the limit is an arrow at the line's end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tmrepro.statistics import Value
from tmrepro.statistics.ranges import Range
from tmrepro.verification.bands import Band
from tmrepro.verification.scales import place

_MARGIN = 0.12  # on either side, as a share of the range shown
_FARTHEST = 4.0  # band widths beyond the band; a number beyond is an arrow at the line's end


@dataclass(frozen=True)
class Mark:
    """A position on the line, 0 to 1. `beyond` is -1 or 1 if the true position is beyond the left or right end."""

    at: float
    beyond: int = 0


@dataclass(frozen=True)
class BandPicture:
    """Positions on a line from 0 to 1. None: undefined, so there is no such mark."""

    low: Mark
    high: Mark
    mean: Mark
    value: Mark | None = None
    expected: Mark | None = None


def draw_band(band: Band, *, value: Value, expected: Value) -> BandPicture | None:
    """Return the positions of a band and the two numbers on a line with the scale of the band.

    Return None if the numbers are too large to be drawn.
    """
    scale, mean = Range(band.scale), band.mean  # the mean is on the scale already
    # An end of the scale (a share of 0 or 1, the logarithm of 0) has no position. It is drawn as far out as the other end.
    low, high = place(band.low, scale), place(band.high, scale)
    spread = next((abs(end - mean) for end in (high, low) if math.isfinite(end)), 4 * band.deviation)
    low, high = (end if math.isfinite(end) else mean + math.copysign(spread, end) for end in (low, high))
    numbers = {"value": value, "expected": expected}
    places = {name: place(float(number), scale) for name, number in numbers.items() if number is not None}
    # A number at an end of the scale that the band includes is drawn at that end of the band.
    places = {
        name: min(max(at, low), high) if math.isinf(at) and band.holds(numbers[name]) else at
        for name, at in places.items()
    }
    reach = _FARTHEST * ((high - low) or max(abs(mean) * 1e-3, 1e-12))
    shown = [low, high, mean, *(place for place in places.values() if low - reach <= place <= high + reach)]
    if not math.isfinite(max(shown) - min(shown) + reach):
        return None
    margin = _MARGIN * ((max(shown) - min(shown)) or reach)
    start, length = min(shown) - margin, max(shown) - min(shown) + 2 * margin

    def mark(place: float) -> Mark:
        at = (place - start) / length
        return Mark(min(max(at, 0.0), 1.0), -1 if at < 0 else (1 if at > 1 else 0))

    return BandPicture(low=mark(low), high=mark(high), mean=mark(mean), **{k: mark(p) for k, p in places.items()})
