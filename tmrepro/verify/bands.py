"""Bands: where a number of another replicate lies, measured on replicates and not guessed.

A band is the Student-t prediction interval for one more replicate, mean +- t s sqrt(1 + 1/n) with n - 1 degrees of
freedom, of logarithms where a number is positive by its nature and its spread multiplicative. Its level is such that all
bands together hold (Bonferroni), at first with `CONFIDENCE`. But t is right for normal numbers only, and these have
heavier tails: so each replicate is left out once, and the level raised until every one of them lies in all bands that the
others measure. Of exchangeable replicates the next one is the farthest out with probability 1 / (n + 1), so `coverage`, what
the bands together can promise, is n / (n + 1), or `CONFIDENCE` if that is less.

Categories have no mean: those that were seen are kept with their counts.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from tmrepro.errors import DamagedError
from tmrepro.records import Minimum
from tmrepro.verify.grades import as_number

CONFIDENCE = 0.95
LOSSES = frozenset(
    {"loss_at_minimum", "loss_min", "loss_max", "loss_mean", "loss_median"}
    | {"train_loss_at_minimum", "validation_loss", "relabelled_loss"}
)
# What else has its band on logarithms: slopes, lengths, ratios, times.
_POSITIVE = frozenset(
    {"slope_at_minimum", "gradient_norm", "sharpness_0.1", "sharpness_0.25", "sharpness_0.5"}
    | {"half_rise_radius", "theta_norm", "roughness", "axis_asymmetry", "point_asymmetry", "epochs"}
)
# Rises that no tolerance sees (1e-4 relative, 1e-6 absolute) are as small as another, and may be 0.
_FLOORS = {"slope_at_minimum": 1e-6, "sharpness_0.1": 0.01, "sharpness_0.25": 0.01, "sharpness_0.5": 0.01}
MINIMUM_NUMBERS = (
    "epochs",
    "train_loss_at_minimum",
    "validation_loss",
    "relabelled_loss",
    "train_accuracy",
    "validation_accuracy",
    "relabelled_accuracy",
    "gradient_norm",
    "theta_norm",
)
LARGEST_EXPONENT = 700.0  # e to more than that is no float

Statistics = Mapping[str, Mapping[str, Mapping[str, float | int | None]]]
Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class Replicate:
    """What one run contributes: SURFACE -> MODEL -> statistic -> value, and the minimum of each model."""

    statistics: Statistics
    minima: Mapping[str, Minimum]


@checked_dataclass(frozen=True)
class Band:
    """The interval of one number: n replicates, their mean and deviation (of logarithms on a log scale), both ends."""

    n: int
    mean: Finite
    deviation: Finite
    low: Finite
    high: Finite
    scale: Literal["linear", "log"]

    def holds(self, value: object) -> bool:
        """Whether `value` is a number inside."""
        number = as_number(value)
        return number is not None and self.low <= number <= self.high


@checked_dataclass(frozen=True)
class Bands:
    """All bands of a reference.

    No band has a number that was undefined in some replicate, or not positive on its log scale, or a statistic that took
    the same value in half of them: most of the time at its bound, it does not show how far it leaves that.

    `statistics`: SURFACE -> MODEL -> statistic -> band; `minima`: MODEL -> number of minimum.json -> band; `categories`:
    MODEL -> category -> how many replicates ended there. `comparisons` is the number m of bands that hold together, each at
    the level 1 - (1 - confidence) / m; `coverage` is what they can promise together.
    """

    n: int
    confidence: Finite
    coverage: Finite
    comparisons: int
    statistics: dict[str, dict[str, dict[str, Band]]]
    minima: dict[str, dict[str, Band]]
    categories: dict[str, dict[str, int]]

    @property
    def measured(self) -> bool:
        """Whether there were replicates to measure a spread on."""
        return self.n >= 2

    def of_statistic(self, surface: str, model: str, statistic: str) -> Band | None:
        """The band of a statistic of a surface."""
        return self.statistics.get(surface, {}).get(model, {}).get(statistic)

    def of_number(self, model: str, name: str) -> Band | None:
        """The band of a number of minimum.json."""
        return self.minima.get(model, {}).get(name)

    def document(self) -> dict[str, Any]:
        """bands.json."""
        document: dict[str, Any] = _ADAPTER.dump_python(self)
        return document


def read_bands(document: object, *, name: str) -> Bands:
    """Bands from their JSON form.

    Raises:
        DamagedError: it is none.
    """
    try:
        # As JSON, since strict Python would want the dataclasses themselves.
        return _ADAPTER.validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DamagedError(f"{name}: expected the bands of a reference, found {where}: {first['msg']}") from error


def measure_bands(replicates: Sequence[Replicate], *, points: Mapping[str, int], images: tuple[int, int]) -> Bands:
    """The bands of everything that `replicates` measured; none from fewer than two.

    `points` is K of each surface and `images` the numbers of training and validation images: what is counted has steps,
    and replicates that agree by chance have not shown that there is no spread.
    """
    n = len(replicates)
    categories: dict[str, dict[str, int]] = {
        model: dict(Counter(str(replicate.minima[model].category) for replicate in replicates))
        for model in replicates[0].minima
    }
    if n < 2:
        return Bands(n, CONFIDENCE, 0.0, 0, {}, {}, categories)
    samples = _samples(replicates, points=points, images=images)
    measured = {place: sample for place, sample in samples.items() if _shows_its_spread(sample)}
    quantile = _quantile(n, comparisons=len(measured)) * max(1.0, _farthest_left_out(samples, n=n))
    statistics: dict[str, dict[str, dict[str, Band]]] = {}
    minima: dict[str, dict[str, Band]] = {}
    for place, sample in measured.items():
        match place:
            case (surface, model, name):
                statistics.setdefault(surface, {}).setdefault(model, {})[name] = _band(sample, quantile=quantile)
            case (model, name):
                minima.setdefault(model, {})[name] = _band(sample, quantile=quantile)
    confidence = _confidence(quantile, n=n, comparisons=len(measured))
    return Bands(n, confidence, min(CONFIDENCE, n / (n + 1)), len(measured), statistics, minima, categories)


@dataclass(frozen=True)
class _Sample:
    """A number's values, a replicate each; the step in which it moves (0: none), and whether it may be stuck at a bound."""

    name: str
    values: tuple[float, ...]
    step: float
    may_be_stuck: bool

    @property
    def log(self) -> bool:
        return self.name in LOSSES or self.name in _POSITIVE

    @property
    def floor(self) -> float:
        return _FLOORS.get(self.name, 0.0)

    def placed(self, value: float) -> float:
        """`value` on the scale of the band."""
        return math.log(max(value, self.floor)) if self.log else value

    def spread(self) -> tuple[float, float]:
        """Mean and deviation on the scale of the band."""
        points, n = [self.placed(value) for value in self.values], len(self.values)
        mean = math.fsum(points) / n
        step = self.step / (math.fsum(self.values) / n) if self.log else self.step
        # A number that moves in steps hides a spread of up to step^2 / 12, the variance of rounding to it (Sheppard 1898).
        variance = math.fsum((point - mean) ** 2 for point in points) / (n - 1) + step * step / 12
        return mean, math.sqrt(variance)

    def without(self, index: int) -> _Sample:
        return replace(self, values=self.values[:index] + self.values[index + 1 :])


def _samples(
    replicates: Sequence[Replicate], *, points: Mapping[str, int], images: tuple[int, int]
) -> dict[tuple[str, ...], _Sample]:
    """Every number that is defined in all replicates, and positive where its scale wants that."""
    found: dict[tuple[str, ...], _Sample] = {}

    def collect(
        place: tuple[str, ...], values: Sequence[float | int | None], *, step: float, may_be_stuck: bool
    ) -> None:
        numbers = tuple(float(value) for value in values if value is not None)
        sample = _Sample(place[-1], numbers, step, may_be_stuck)
        if len(numbers) == len(values) and not (sample.log and max(min(numbers), sample.floor) <= 0):
            found[place] = sample

    first = replicates[0]
    for surface, models in first.statistics.items():
        for model, values in models.items():
            for name in values:
                collect(
                    (surface, model, name),
                    [replicate.statistics[surface][model][name] for replicate in replicates],
                    step=_step_of_statistic(name, K=points[surface]),
                    may_be_stuck=name != "non_finite",
                )
    for model in first.minima:
        for name in MINIMUM_NUMBERS:
            numbers = [getattr(replicate.minima[model], name) for replicate in replicates]
            collect((model, name), numbers, step=_step_of_number(name, images=images), may_be_stuck=False)
    return found


def _shows_its_spread(sample: _Sample) -> bool:
    n, different = len(sample.values), len({sample.placed(value) for value in sample.values})
    return not sample.may_be_stuck or 2 * different > n


def _quantile(n: int, *, comparisons: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(1 - (1 - CONFIDENCE) / (2 * max(comparisons, 1)), n - 1))


def _confidence(quantile: float, *, n: int, comparisons: int) -> float:
    """The joint confidence whose quantile that is; the inverse of `_quantile`."""
    from scipy import stats

    return 1 - 2 * max(comparisons, 1) * float(stats.t.sf(quantile, n - 1))


def _farthest_left_out(samples: Mapping[tuple[str, ...], _Sample], *, n: int) -> float:
    """How much wider the bands of n - 1 replicates must be to hold the one left out, whichever that is."""
    if n < 3:
        return 1.0
    farthest = 0.0
    for index in range(n):
        left = {place: sample.without(index) for place, sample in samples.items()}
        left = {place: sample for place, sample in left.items() if _shows_its_spread(sample)}
        reach = _quantile(n - 1, comparisons=len(left)) * math.sqrt(1 + 1 / (n - 1))
        for place, sample in left.items():
            mean, deviation = sample.spread()
            if deviation > 0:
                distance = abs(sample.placed(samples[place].values[index]) - mean)
                farthest = max(farthest, distance / (reach * deviation))
    return farthest


def _band(sample: _Sample, *, quantile: float) -> Band:
    n = len(sample.values)
    mean, deviation = sample.spread()
    reach = quantile * deviation * math.sqrt(1 + 1 / n)
    low, high = mean - reach, mean + reach
    if not sample.log:
        return Band(n, mean, deviation, low, high, "linear")
    low, high = (math.exp(max(-LARGEST_EXPONENT, min(end, LARGEST_EXPONENT))) for end in (low, high))
    # What counts as the floor may be anything below it.
    return Band(n, mean, deviation, low if low > sample.floor else 0.0, high, "log")


def _step_of_statistic(name: str, *, K: int) -> float:
    if name in {"non_finite", "local_minima"}:
        return 1.0
    if name.startswith("low_loss_fraction"):
        return 1 / K**2
    match name:
        case "convex_fraction":
            return 1 / max(K - 2, 1) ** 2
        case "total_persistence":
            return 0.01  # bars shorter than a hundredth of the range do not count
        case _:
            return 0.0


def _step_of_number(name: str, *, images: tuple[int, int]) -> float:
    match name:
        case "epochs":
            return 1.0
        case "train_accuracy" | "relabelled_accuracy":
            return 1 / images[0]
        case "validation_accuracy":
            return 1 / images[1]
        case _:
            return 0.0


_ADAPTER: TypeAdapter[Bands] = TypeAdapter(Bands)
