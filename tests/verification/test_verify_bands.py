"""Bands hold what they promise: measured on synthetic replicates whose distribution is known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tmrepro.errors import DamagedError
from tmrepro.statistics import RANGES
from tmrepro.statistics.ranges import Range
from tmrepro.verification.bands import Band, Bands, Replicate, measure_bands, read_bands

Rows = Sequence[Mapping[str, float | None]]
# Numbers without an end, for what a textbook says of an interval.
NUMBERS = ("any", "another", "a third", "a fourth", "a fifth", *(f"number {index}" for index in range(6)))
WITHOUT_END = dict.fromkeys(NUMBERS, Range(least=-math.inf))


def bands_of(rows: Rows, *, K: int = 21) -> Bands:
    """Bands of one surface "s" of one model "m", from a row of statistics per replicate."""
    replicates = [Replicate({"s": {"m": dict(row)}}, {}) for row in rows]
    return measure_bands(replicates, points={"s": K}, images=(100, 50), ranges=RANGES | WITHOUT_END)


def band_of(values: Sequence[float | None], *, name: str = "any", K: int = 21) -> Band | None:
    return bands_of([{name: value} for value in values], K=K).of_statistic("s", "m", name)


def test_a_band_is_the_prediction_interval_of_the_textbook() -> None:
    band = band_of([1.0, 2.0, 4.0, 5.0])
    assert band is not None
    deviation = math.sqrt((4 + 1 + 1 + 4) / 3)
    reach = 3.182446305284263 * deviation * math.sqrt(1.25)  # t of 97.5% with 3 degrees of freedom, from a table
    assert (band.n, band.mean, band.scale) == (4, 3.0, "linear")
    assert (band.low, band.high) == (pytest.approx(3 - reach), pytest.approx(3 + reach))


def test_a_loss_has_its_band_on_logarithms() -> None:
    band = band_of([0.1, 0.2, 0.4], name="loss_mean")
    assert band is not None
    assert band.scale == "log"
    assert band.mean == pytest.approx(math.log(0.2))
    assert band.low * band.high == pytest.approx(0.2**2)
    assert band.low > 0


def test_bands_hold_together_and_not_one_by_one() -> None:
    """With k statistics each band has an error of 5% / k (Bonferroni)."""
    alone = bands_of([{"any": 1.0}, {"any": 2.0}, {"any": 4.0}])
    names = ("any", "another", "a third", "a fourth")
    together = bands_of([dict.fromkeys(names, value) for value in (1.0, 2.0, 4.0)])
    assert (alone.comparisons, together.comparisons) == (1, 4)
    quantiles = []
    for bands in (alone, together):
        band = bands.of_statistic("s", "m", "any")
        assert band is not None
        quantiles.append((band.high - band.mean) / (band.deviation * math.sqrt(4 / 3)))
    assert quantiles == [pytest.approx(stats.t.ppf(1 - 0.025 / k, 2)) for k in (1, 4)]


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("any", lambda random, size: 3 + 0.2 * random.standard_normal(size)),
        ("loss_max", lambda random, size: np.exp(1 + 0.7 * random.standard_normal(size))),
    ],
    ids=["normal", "lognormal"],
)
def test_one_more_replicate_lies_in_its_band_as_often_as_promised(
    n: int, name: str, draw: Callable[[np.random.Generator, int], np.ndarray]
) -> None:
    random, trials, inside = np.random.default_rng(5), 2000, 0
    for _ in range(trials):
        *seen, new = (float(value) for value in draw(random, n + 1))
        band = band_of(seen, name=name)
        assert band is not None
        inside += band.holds(new)
    # Four standard deviations of a binomial; the seed is fixed, so this never fails by chance.
    assert inside / trials >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / trials)


def test_all_bands_together_hold_at_least_as_often_as_promised() -> None:
    random, trials, inside = np.random.default_rng(6), 400, 0
    names = ["any", "another", "a third", "a fourth", "a fifth"]
    for _ in range(trials):
        rows = [dict(zip(names, map(float, random.standard_normal(5)), strict=True)) for _ in range(6)]
        bands = bands_of(rows[:5])
        found = [bands.of_statistic("s", "m", name) for name in names]
        inside += all(band is not None and band.holds(rows[5][name]) for band, name in zip(found, names, strict=True))
    assert inside / trials >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / trials)


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9, unique=True))
def test_a_band_holds_the_mean_and_is_never_inside_out(values: list[float]) -> None:
    band = band_of(values)
    assert band is not None
    assert band.low <= band.mean <= band.high


def test_heavy_tails_widen_the_bands_until_they_hold_as_often_as_said() -> None:
    """Numbers of which one in fifteen lies far out: the normal quantile alone would hold four of five replicates."""
    random, trials, inside, plain = np.random.default_rng(7), 150, 0, 0
    names = [f"number {index}" for index in range(6)]

    def row() -> dict[str, float]:
        scale = np.where(random.random(6) < 1 / 15, 12.0, 1.0)
        return dict(zip(names, map(float, scale * random.standard_normal(6)), strict=True))

    for _ in range(trials):
        rows, new = [row() for _ in range(19)], row()
        bands = bands_of(rows)
        assert bands.coverage == pytest.approx(0.95)
        assert bands.confidence >= 0.95
        found = {name: bands.of_statistic("s", "m", name) for name in names}
        inside += all(band is not None and band.holds(new[name]) for name, band in found.items())
        quantile = float(stats.t.ppf(1 - 0.05 / 12, 18))
        plain += all(
            abs(new[name] - band.mean) <= quantile * band.deviation * math.sqrt(20 / 19)
            for name, band in found.items()
            if band is not None
        )
    assert inside / trials >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / trials)
    assert plain < inside


def test_every_replicate_lies_in_the_bands_of_the_others_once_they_are_widened() -> None:
    rows = [{"any": value} for value in (0.0, 1.0, 0.5, 0.2, 0.7, 9.0)]
    bands = bands_of(rows)
    quantile = float(stats.t.ppf(1 - (1 - bands.confidence) / 2, 5))
    assert bands.confidence > 0.95
    assert bands.coverage == pytest.approx(6 / 7)
    others = [row["any"] for row in rows[:5]]
    deviation, mean = float(np.std(others, ddof=1)), float(np.mean(others))
    wider = quantile / float(stats.t.ppf(0.975, 5))
    assert 9.0 - mean == pytest.approx(wider * float(stats.t.ppf(0.975, 4)) * deviation * math.sqrt(1.2))


def test_points_that_are_not_finite_have_a_band_though_there_were_none() -> None:
    band = band_of([0, 0, 0, 0, 0, 0, 0, 0], name="non_finite")
    assert band is not None
    assert not band.holds(3)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("local_minima", [1, 1, 1, 2]),
        ("low_loss_fraction_0.1", [1.0, 1.0, 1.0, 0.6, 0.7, 1.0]),
        ("sharpness_0.1", [0.0, 0.001, 0.0002, 0.0]),
    ],
)
def test_what_mostly_stands_at_its_bound_does_not_show_its_spread(name: str, values: list[float]) -> None:
    assert band_of(values, name=name) is None


def test_a_rise_that_no_tolerance_sees_counts_as_that_tolerance() -> None:
    band = band_of([0.0, 0.02, 0.05, 0.04], name="sharpness_0.5")
    assert band is not None
    assert (band.scale, band.low) == ("log", 0.0)
    assert band.mean == pytest.approx(math.log(0.01 * 0.02 * 0.05 * 0.04) / 4)
    assert band.holds(0.0)
    assert not band.holds(1e6)
    higher = band_of([2.0, 2.1, 2.2, 2.3], name="sharpness_0.5")
    assert higher is not None
    assert not higher.holds(0.0)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("half_rise_radius", [1.0, None, 2.0]),
        ("loss_at_minimum", [0.1, 0.0, 0.2]),
        ("loss_min", [0.1, -1e-17, 0.2]),
    ],
)
def test_what_was_undefined_in_a_replicate_has_no_band(name: str, values: list[float | None]) -> None:
    bands = bands_of([{name: value, "any": 1.0 + index} for index, value in enumerate(values)])
    assert bands.of_statistic("s", "m", name) is None
    assert bands.of_statistic("s", "m", "any") is not None
    assert bands.comparisons == 1


def test_one_run_measures_nothing() -> None:
    bands = bands_of([{"roughness": 1.0}])
    assert not bands.measured
    assert bands.of_statistic("s", "m", "roughness") is None


def test_a_log_band_too_wide_for_a_float_is_finite() -> None:
    band = band_of([1e-300, 1e300], name="loss_max")
    assert band is not None
    assert 0 <= band.low < band.high < math.inf


@pytest.mark.parametrize("value", [None, "1", True, math.nan, math.inf, [1.0]])
def test_a_band_holds_numbers_only(value: object) -> None:
    assert not Band(3, 0.0, 1.0, -9.0, 9.0, "linear").holds(value)


def test_bands_survive_their_file() -> None:
    bands = bands_of([{"roughness": 1.0, "loss_mean": 2.0}, {"roughness": 2.0, "loss_mean": 3.0}])
    assert read_bands(json.loads(json.dumps(bands.document())), name="bands.json") == bands


@pytest.mark.parametrize(
    "document", [{}, [], None, {"n": "2"}, {"n": 2, "confidence": 1, "coverage": 1, "comparisons": 0, "statistics": 5}]
)
def test_a_file_that_holds_no_bands_is_damage(document: object) -> None:
    with pytest.raises(DamagedError, match=r"bands\.json"):
        read_bands(document, name="bands.json")
