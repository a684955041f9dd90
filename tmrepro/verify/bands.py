"""Bands: where a number of another replicate lies, measured on replicates and not guessed.

A band is the Student-t prediction interval for one more replicate, mean +- t s sqrt(1 + 1/n) with n - 1 degrees of
freedom; of logarithms for losses, whose spread is multiplicative. Its level is such that all bands together hold with
`CONFIDENCE` (Bonferroni). Categories have no mean: those that were seen are kept with their counts.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from tmrepro.errors import DamagedError
from tmrepro.records import Minimum
from tmrepro.verify.grades import as_number

CONFIDENCE = 0.95
# Statistics and numbers of a minimum that are losses, or the slope of one.
LOSSES = frozenset(
    {"loss_at_minimum", "loss_min", "loss_max", "loss_mean", "loss_median"}
    | {"train_loss_at_minimum", "validation_loss", "relabelled_loss", "gradient_norm"}
)
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
    """All bands of a reference. A number that was undefined in some replicate, or not positive on its log scale, has none.

    `statistics`: SURFACE -> MODEL -> statistic -> band; `minima`: MODEL -> number of minimum.json -> band; `categories`:
    MODEL -> category -> how many replicates ended there. `comparisons` is the number of bands that hold together.
    """

    n: int
    confidence: Finite
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


def measure_bands(
    replicates: Sequence[Replicate],
    *,
    points: Mapping[str, int],
    images: tuple[int, int],
    confidence: float = CONFIDENCE,
) -> Bands:
    """The bands of everything that `replicates` measured; none from fewer than two.

    `points` is K of each surface and `images` the numbers of training and validation images: what is counted has steps,
    and replicates that agree by chance have not shown that there is no spread.
    """
    n = len(replicates)
    first = replicates[0]
    categories: dict[str, dict[str, int]] = {
        model: dict(Counter(str(replicate.minima[model].category) for replicate in replicates))
        for model in first.minima
    }
    samples: dict[tuple[str, ...], tuple[list[float], float]] = {}
    for surface, models in first.statistics.items():
        for model, values in models.items():
            for name in values:
                found = [replicate.statistics[surface][model][name] for replicate in replicates]
                _collect(samples, (surface, model, name), found, step=_step_of_statistic(name, K=points[surface]))
    for model in first.minima:
        for name in MINIMUM_NUMBERS:
            found = [getattr(replicate.minima[model], name) for replicate in replicates]
            _collect(samples, (model, name), found, step=_step_of_number(name, images=images))
    if n < 2:
        return Bands(n, confidence, 0, {}, {}, categories)
    from scipy import stats

    quantile = float(stats.t.ppf(1 - (1 - confidence) / (2 * max(len(samples), 1)), n - 1))
    statistics: dict[str, dict[str, dict[str, Band]]] = {}
    minima: dict[str, dict[str, Band]] = {}
    for place, (sample, step) in samples.items():
        band = _band(sample, step=step, quantile=quantile, log=place[-1] in LOSSES)
        match place:
            case (surface, model, name):
                statistics.setdefault(surface, {}).setdefault(model, {})[name] = band
            case (model, name):
                minima.setdefault(model, {})[name] = band
    return Bands(n, confidence, len(samples), statistics, minima, categories)


def _collect(
    samples: dict[tuple[str, ...], tuple[list[float], float]],
    place: tuple[str, ...],
    found: Sequence[float | int | None],
    *,
    step: float,
) -> None:
    numbers = [float(value) for value in found if value is not None]
    if len(numbers) == len(found) and not (place[-1] in LOSSES and min(numbers) <= 0):
        samples[place] = (numbers, step)


def _band(sample: Sequence[float], *, step: float, quantile: float, log: bool) -> Band:
    transform: Callable[[float], float] = math.log if log else float
    points, n = [transform(value) for value in sample], len(sample)
    mean = math.fsum(points) / n
    variance = math.fsum((point - mean) ** 2 for point in points) / (n - 1)
    # A number that moves in steps hides a spread of up to step^2 / 12, the variance of rounding to it (Sheppard 1898).
    deviation = math.sqrt(variance + step * step / 12)
    reach = quantile * deviation * math.sqrt(1 + 1 / n)
    low, high = mean - reach, mean + reach
    if log:
        low, high = (math.exp(max(-LARGEST_EXPONENT, min(end, LARGEST_EXPONENT))) for end in (low, high))
    return Band(n, mean, deviation, low, high, "log" if log else "linear")


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
