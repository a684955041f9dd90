"""A statistic's band as a picture: where band, mean, reference and value lie on one line.

Only positions are worked out here, in parts of the line's length; the page draws them. The line reaches beyond all of them
by a margin, but never so far that the band becomes a speck: what lies further out is put at the line's end, with an arrow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tmrepro.statistics import Value
from tmrepro.statistics.ranges import Range
from tmrepro.verification.bands import Band
from tmrepro.verification.scales import place

_MARGIN = 0.12  # of what is shown, on either side
_FARTHEST = 4.0  # band widths beyond the band; further out is drawn as an arrow at the line's end


@dataclass(frozen=True)
class Mark:
    """A place on the line, 0 to 1; `beyond` is -1 or 1 where the true place is off the line to the left or right."""

    at: float
    beyond: int = 0


@dataclass(frozen=True)
class BandPicture:
    """Places on a line from 0 to 1. None: undefined, so there is no such mark."""

    low: Mark
    high: Mark
    mean: Mark
    value: Mark | None = None
    expected: Mark | None = None


def draw_band(band: Band, *, value: Value, expected: Value) -> BandPicture | None:
    """Place a band and the two numbers on a line with the scale of the band.

    None where the numbers are too large to be drawn.
    """
    scale, mean = Range(band.scale), band.mean  # which is on the scale already
    # An end of the scale (a share of 0 or 1, the logarithm of 0) has no place: it is drawn as far out as the other end is.
    low, high = place(band.low, scale), place(band.high, scale)
    spread = next((abs(end - mean) for end in (high, low) if math.isfinite(end)), 4 * band.deviation)
    low, high = (end if math.isfinite(end) else mean + math.copysign(spread, end) for end in (low, high))
    numbers = {"value": value, "expected": expected}
    places = {name: place(float(number), scale) for name, number in numbers.items() if number is not None}
    # What stands at an end of the scale that the band holds stands at that end of the band.
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
