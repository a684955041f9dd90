"""From losses to a figure: heights on a linear or log scale, round levels between them, and legible labels.

A height is the loss itself (linear) or log10 of it (log). Non-finite losses have no height (nan): they are gaps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

import numpy as np
from jaxtyping import Float64
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator

Losses: TypeAlias = Float64[np.ndarray, "..."]
ScaleKind = Literal["linear", "log"]
ScaleAsked = Literal["auto", "linear", "log"]

_ROUND_STEPS = (1, 2, 2.5, 5, 10)
_FLAT = 1e-9  # relative range below which a surface counts as constant: labels could not distinguish its levels
_FIXED_FROM, _FIXED_TO = 1e-3, 1e5  # numbers outside are written with a power of ten
_MOST_DIGITS = 14
_WIDE = 100  # with `auto`, the scale is log if the largest loss is more than this many times the least
_LARGEST = 1e100  # nats; no float32 loss is larger, and drawing overflows at much larger numbers
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class LossScale:
    """The scale that one or several surfaces share. `low` and `high` are heights; None if no loss is finite.

    `floor` is the smallest positive loss and `floored` the number of losses <= 0 drawn at it (log scale only). `unit` is
    that of the losses.
    """

    kind: ScaleKind
    low: float | None
    high: float | None
    floor: float
    floored: int
    unit: str = "nats"

    def heights(self, loss: Losses) -> Losses:
        """Return the height of each loss; nan if the loss is not finite, or too large to be drawn.

        Logarithms are computed one by one by the C library: NumPy's differ in the last bit between processors, but figures must
        be bitwise identical.
        """
        finite = np.where(_is_drawn(loss), loss, np.nan)
        if self.kind == "linear":
            return finite
        logs = [math.nan if math.isnan(value) else math.log10(max(value, self.floor)) for value in finite.flat]
        return np.array(logs, dtype=np.float64).reshape(finite.shape)

    @property
    def limits(self) -> tuple[float, float]:
        """The lowest and the highest height: the range of the losses, widened if that is a single value."""
        if self.low is None or self.high is None:
            return 0.0, 1.0
        if is_flat(self.low, self.high):
            half = 0.5 * max(abs(self.low), 1e-12)
            return self.low - half, self.high + half
        return self.low, self.high

    @property
    def norm(self) -> Normalize:
        """The map from heights to positions on the colour map."""
        return Normalize(*self.limits)

    @property
    def label(self) -> str:
        """The axis label, with the unit, and a note on losses that have no logarithm."""
        if self.kind == "linear":
            return f"loss ({self.unit})"
        note = f", {self.floored} losses ≤ 0 drawn at {loss_label(self.floor)}" if self.floored else ""
        return f"loss ({self.unit}), log₁₀ scale{note}"

    def tick_labels(self, heights: Sequence[float]) -> list[str]:
        """Return a label, in the unit of the losses, for each height."""
        if self.kind == "linear":
            return loss_labels(heights)
        losses = [10**height for height in heights]
        close = bool(losses) and max(losses) < 10 * min(losses)
        return loss_labels(losses) if close else [loss_label(loss) for loss in losses]

    def levels(self, heights: Losses, *, count: int) -> list[float]:
        """Return at most about `count` round heights strictly inside the range of `heights`; none if that is flat."""
        bounds = _bounds(heights)
        if bounds is None or is_flat(*bounds):
            return []
        low, high = bounds
        match self.kind:
            case "linear":
                candidates = _round_values(low, high, count)
            case "log":
                candidates = _round_logs(low, high, count)
            case _:
                assert_never(self.kind)
        margin = 1e-6 * (high - low)
        return [value for value in candidates if low + margin < value < high - margin]


def loss_scale(losses: Iterable[Losses], *, kind: ScaleAsked, unit: str = "nats") -> LossScale:
    """Return the scale for all finite losses of all surfaces. `auto` is log if their ratio is more than a hundred."""
    flat = np.concatenate([np.ravel(loss) for loss in losses] or [np.empty(0)])
    finite = flat[_is_drawn(flat)]
    if kind == "auto":
        kind = "log" if finite.size and finite.max() > max(0.0, _WIDE * float(finite.min())) else "linear"
    positive = finite[finite > 0]
    floor = float(positive.min()) if positive.size else 1.0
    floored = int((finite <= 0).sum()) if kind == "log" else 0
    empty = LossScale(kind=kind, low=None, high=None, floor=floor, floored=floored, unit=unit)
    if not finite.size:
        return empty
    low, high = empty.heights(np.array([finite.min(), finite.max()]))
    return LossScale(kind, float(low), float(high), floor, floored, unit)


def is_flat(low: float, high: float) -> bool:
    """Return whether the range is so small that the surface is drawn as a plane."""
    return high - low <= _FLAT * max(abs(low), abs(high))


def loss_label(value: float, *, digits: int = 4) -> str:
    """Return a number in a readable form: 0.05, 12, 10⁻⁶, 2.5×10⁷; with at most `digits` significant digits."""
    words = f"{value:.{digits}g}"
    if "e" not in words and (value == 0 or abs(value) >= _FIXED_FROM):
        return words
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    power = "10" + str(int(exponent)).translate(_SUPERSCRIPTS)
    return {"1": power, "-1": f"-{power}"}.get(mantissa, f"{mantissa}×{power}")


def loss_labels(values: Sequence[float]) -> list[str]:
    """Return labels for different numbers on one linear axis, with enough decimals to distinguish them."""
    if len(values) < 2:
        return [loss_label(value) for value in values]
    if _FIXED_FROM <= max(abs(value) for value in values) < _FIXED_TO:
        gap = float(np.diff(np.sort(np.asarray(values))).min())
        decimals = 0
        while decimals < _MOST_DIGITS and any(abs(round(value, decimals) - value) > gap / 1000 for value in values):
            decimals += 1
        return [f"{value:.{decimals}f}" for value in values]
    digits = 3
    while digits < _MOST_DIGITS and len({loss_label(value, digits=digits) for value in values}) < len(values):
        digits += 1
    return [loss_label(value, digits=digits) for value in values]


def _is_drawn(loss: Losses) -> np.ndarray:
    drawn: np.ndarray = np.isfinite(loss) & (np.abs(loss) <= _LARGEST)
    return drawn


def _bounds(heights: Losses) -> tuple[float, float] | None:
    finite = heights[np.isfinite(heights)]
    return (float(finite.min()), float(finite.max())) if finite.size else None


def _round_values(low: float, high: float, count: int) -> list[float]:
    values = MaxNLocator(nbins=count, steps=list(_ROUND_STEPS)).tick_values(low, high)
    return [0.0 if abs(value) < 1e-9 * (high - low) else float(value) for value in values]


def _round_logs(low: float, high: float, count: int) -> list[float]:
    """Return heights of round losses: decades, or 1-2-5, or (within a factor of five) plain round numbers."""
    span = high - low
    if span < math.log10(5):
        return [math.log10(value) for value in _round_values(10**low, 10**high, count) if value > 0]
    decades = range(math.floor(low), math.ceil(high) + 1)
    for mantissas in ((1, 2, 5), (1, 3), (1,)):
        if span * len(mantissas) <= count:
            return [decade + math.log10(mantissa) for decade in decades for mantissa in mantissas]
    stride = math.ceil(0.75 * span / count)  # prefer a third more lines to every other decade
    return [float(decade) for decade in decades if decade % stride == 0]
