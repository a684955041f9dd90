"""Measures bands: the intervals in which the numbers of another replicate are expected.

A band is the Student-t prediction interval for one more replicate, mean +- t s sqrt(1 + 1/n) with n - 1 degrees of
freedom, on the scale of the number (statistics/ranges.py): logarithms if its spread is multiplicative, logits if it is
a share. The level of each band is chosen for all bands together (Bonferroni), at first with `CONFIDENCE`. But t holds for
normal numbers only, and these have heavier tails. So each replicate is left out once, and the level is raised until every
replicate is inside all bands that the others give. Of exchangeable replicates, the next one is the most extreme with
probability 1 / (n + 1). So the bands together can guarantee n / (n + 1), or `CONFIDENCE` if that is less: the `coverage`. A
band is cut to the range of its number. This does not change the coverage, because no replicate is outside the range.

Categories have no mean. The categories of the replicates are stored with their counts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tmrepro.records import Minimum
from tmrepro.spec import Spec, TrainingSpec, expand_models, expand_surfaces
from tmrepro.statistics import COMPARED_NUMBERS, RANGES
from tmrepro.statistics.ranges import Range, Size
from tmrepro.verification.band import Band, Bands, read_bands
from tmrepro.verification.scales import band_ends, has_place, judges_nothing, place, slope

__all__ = ["Band", "Bands", "Replicate", "measure_bands", "own_replicates", "read_bands", "sizes_of"]

CONFIDENCE = 0.95
Statistics = Mapping[str, Mapping[str, Mapping[str, float | int | None]]]


@dataclass(frozen=True)
class Replicate:
    """The results of one run: SURFACE -> MODEL -> statistic -> value, and the minimum of each model."""

    statistics: Statistics
    minima: Mapping[str, Minimum]


def own_replicates(spec: Spec, run: Replicate) -> list[Replicate]:
    """Return the training replicates inside one run of `spec`, each as a run. The j-th has NAME.r(k+j) as NAME.rk.

    So the band of each of them is measured over all. With one training of each network, return only the run.
    """
    names: dict[str, list[str]] = {}
    for model in expand_models(spec):
        names.setdefault(model.base, []).append(model.name)
    found = []
    for shift in range(spec.replicates.training):
        other = {name: each[(k + shift) % len(each)] for each in names.values() for k, name in enumerate(each)}
        statistics = {
            surface: {name: models[other[name]] for name in models if other[name] in models}
            for surface, models in run.statistics.items()
        }
        minima = {name: run.minima[other[name]] for name in run.minima if other[name] in run.minima}
        found.append(Replicate(statistics, minima))
    return found


def measure_bands(
    replicates: Sequence[Replicate],
    *,
    points: Mapping[str, int],
    images: tuple[int, int],
    sizes: Mapping[tuple[str, ...], Mapping[Size, float | int]] | None = None,
    ranges: Mapping[str, Range] = RANGES,
) -> Bands:
    """Measure the bands of all numbers of `replicates`; there are none with fewer than two replicates.

    `points` is K of each surface, `images` the numbers of training and validation images. They give the step of counted numbers:
    replicates that agree by chance do not prove that there is no spread. `sizes` (`sizes_of`) has the other limits of the numbers
    of a (SURFACE, MODEL) or of a (MODEL,). `ranges` must have every number; a missing one is a LookupError.
    """
    n = len(replicates)
    categories: dict[str, dict[str, int]] = {
        model: dict(Counter(str(replicate.minima[model].category) for replicate in replicates))
        for model in replicates[0].minima
    }
    if n < 2:
        return Bands(n, CONFIDENCE, 0.0, 0, {}, {}, categories)

    def range_of(at: tuple[str, ...]) -> Range:
        if at[-1] not in ranges:
            raise LookupError(f"{at[-1]}: the range of this number is missing; see tmrepro/statistics/catalogue.py")
        known: dict[Size, float | int] = dict((sizes or {}).get(at[:-1], {}))
        if len(at) == 3:
            K = points[at[0]]
            known |= {"points": K**2, "interior points": max(K - 2, 1) ** 2}
        return ranges[at[-1]].sized(known | {"training images": images[0], "validation images": images[1]})

    samples = _samples(replicates, range_of=range_of)
    measured = {at: sample for at, sample in samples.items() if _shows_its_spread(sample)}
    quantile = _quantile(n, comparisons=len(measured)) * max(1.0, _farthest_left_out(samples, n=n))
    statistics: dict[str, dict[str, dict[str, Band]]] = {}
    minima: dict[str, dict[str, Band]] = {}
    for at, sample in measured.items():
        match at:
            case (surface, model, name):
                statistics.setdefault(surface, {}).setdefault(model, {})[name] = _band(sample, quantile=quantile)
            case (model, name):
                minima.setdefault(model, {})[name] = _band(sample, quantile=quantile)
    confidence = _confidence(quantile, n=n, comparisons=len(measured))
    return Bands(n, confidence, min(CONFIDENCE, n / (n + 1)), len(measured), statistics, minima, categories)


def sizes_of(spec: Spec) -> dict[tuple[str, ...], dict[Size, float | int]]:
    """Return what in a spec limits the numbers of each (SURFACE, MODEL) and (MODEL,): the grid, clipping, max_epochs."""
    found: dict[tuple[str, ...], dict[Size, float | int]] = {}
    for model in expand_models(spec):
        training = model.spec.training
        assert isinstance(training, TrainingSpec)  # noqa: S101 - every model of a resolved spec has a whole one
        found[model.name,] = {"epochs": training.max_epochs}
        if training.clip_probability and spec.minimum.labels == "hard":
            found[model.name,]["largest loss"] = -math.log(training.clip_probability)
    for drawn in expand_surfaces(spec):
        grid = drawn.spec.grid
        steps = grid.K - 1 if grid.origin == "corner" else (grid.K - 1) // 2
        reach: dict[Size, float | int] = {"reach": steps * grid.step} if grid.unit == "absolute" else {}
        found |= {(drawn.name, model): found[model,] | reach for model in drawn.models}
    return found


@dataclass(frozen=True)
class _Sample:
    """The values of a number, one per replicate, and its range."""

    values: tuple[float, ...]
    range: Range

    def place(self, value: float) -> float:
        return place(value, self.range)

    def spread(self) -> tuple[float, float]:
        """Return mean and deviation on the scale of the band."""
        places, n = [self.place(value) for value in self.values], len(self.values)
        mean = math.fsum(places) / n
        assert isinstance(self.range.step, float)  # noqa: S101 - sized
        step = self.range.step * slope(math.fsum(self.values) / n, self.range) if self.range.step else 0.0
        # A number with steps hides a spread of up to step^2 / 12, the variance of rounding to it (Sheppard 1898).
        variance = math.fsum((at - mean) ** 2 for at in places) / (n - 1) + step * step / 12
        return mean, math.sqrt(variance)

    def without(self, index: int) -> _Sample:
        return replace(self, values=self.values[:index] + self.values[index + 1 :])


def _samples(
    replicates: Sequence[Replicate], *, range_of: Callable[[tuple[str, ...]], Range]
) -> dict[tuple[str, ...], _Sample]:
    """Return every number that can have a band, is defined in all replicates, and has a place on its scale."""
    values: dict[tuple[str, ...], list[float | int | None]] = {}
    # A replicate whose network collapsed or diverged has no surface, so the numbers there are not defined in all replicates.
    for one in replicates:
        for surface, models in one.statistics.items():
            for model, statistics in models.items():
                for name in statistics:
                    values[surface, model, name] = [
                        other.statistics.get(surface, {}).get(model, {}).get(name) for other in replicates
                    ]
    for model in replicates[0].minima:
        for name in COMPARED_NUMBERS:
            values[model, name] = [getattr(one.minima[model], name) for one in replicates]
    found: dict[tuple[str, ...], _Sample] = {}
    for at, given in values.items():
        range_, numbers = range_of(at), tuple(float(value) for value in given if value is not None)
        if not range_.no_band and len(numbers) == len(given) and all(has_place(value, range_) for value in numbers):
            found[at] = _Sample(numbers, range_)
    return found


def _shows_its_spread(sample: _Sample) -> bool:
    n, different = len(sample.values), len({sample.place(value) for value in sample.values})
    return not sample.range.may_be_stuck or 2 * different > n


def _quantile(n: int, *, comparisons: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(1 - (1 - CONFIDENCE) / (2 * max(comparisons, 1)), n - 1))


def _confidence(quantile: float, *, n: int, comparisons: int) -> float:
    """Return the joint confidence of a quantile; the inverse of `_quantile`."""
    from scipy import stats

    return 1 - 2 * max(comparisons, 1) * float(stats.t.sf(quantile, n - 1))


def _farthest_left_out(samples: Mapping[tuple[str, ...], _Sample], *, n: int) -> float:
    """Return how much wider the bands of n - 1 replicates must be to include the remaining one, for any of them."""
    if n < 3:
        return 1.0
    farthest = 0.0
    for index in range(n):
        left = {at: sample.without(index) for at, sample in samples.items()}
        left = {at: sample for at, sample in left.items() if _shows_its_spread(sample)}
        reach = _quantile(n - 1, comparisons=len(left)) * math.sqrt(1 + 1 / (n - 1))
        for at, sample in left.items():
            mean, deviation = sample.spread()
            if deviation > 0:
                distance = abs(sample.place(samples[at].values[index]) - mean)
                farthest = max(farthest, distance / (reach * deviation))
    return farthest


def _band(sample: _Sample, *, quantile: float) -> Band:
    n = len(sample.values)
    mean, deviation = sample.spread()
    low, high = band_ends(mean, quantile * deviation * math.sqrt(1 + 1 / n), sample.range)
    idle = judges_nothing(low, high, sample.range)
    return Band(n, mean, deviation, low, high, sample.range.scale, idle)
