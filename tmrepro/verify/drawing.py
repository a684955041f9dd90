"""A statistic's band as a picture: where band, mean, reference and value lie on one line.

Only positions are worked out here, in parts of the line's length; the page draws them. The line reaches beyond all of them
by a margin, but never so far that the band becomes a speck: what lies further out is put at the line's end, with an arrow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tmrepro.statistics import Value
from tmrepro.verify.bands import Band

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
    """Place a band and the two numbers on a line; a logarithmic one where the band is of logarithms.

    None where the numbers are too large to be drawn.
    """
    log = band.scale == "log"
    high, mean = _place(band.high, log=log), band.mean  # of logarithms already, where it is log
    # The lower end of a very wide band of logarithms rounds to 0, which has none: it is as far from the mean as the upper.
    low = _place(band.low, log=log) if band.low > 0 or not log else 2 * mean - high
    numbers = {"value": value, "expected": expected}
    places = {name: _place(float(number), log=log) for name, number in numbers.items() if number is not None}
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


def _place(number: float, *, log: bool) -> float:
    if not log:
        return number
    return math.log(number) if number > 0 else -math.inf
