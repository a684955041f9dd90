"""A band lies within what its number can be, and says so where it is too wide to judge by."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.records import a_minimum
from tmrepro.errors import DamagedError
from tmrepro.records import Minimum
from tmrepro.spec import parse_spec
from tmrepro.statistics import COMPARED_NUMBERS, RANGES, STATISTICS
from tmrepro.statistics.ranges import Range
from tmrepro.verification.bands import Band, Bands, Replicate, measure_bands, read_bands, sizes_of
from tmrepro.verification.scales import place, place_back

STATISTIC = {info.name for info in STATISTICS} | {"brand_new"}
K, IMAGES = 11, (200, 50)
SIZES = {"points": K**2, "interior points": (K - 2) ** 2, "training images": 200, "validation images": 50}


def minimum(**values: float) -> Minimum:
    values = {name: int(value) if name == "epochs" else float(value) for name, value in values.items()}
    return a_minimum(model="m", category="GM", **values)


def bands_of(rows: Sequence[Mapping[str, float]]) -> Bands:
    """Bands of replicates that each give a row: statistics of a surface "s" of "m", and numbers of its minimum."""
    replicates = [
        Replicate(
            {"s": {"m": {name: value for name, value in row.items() if name not in COMPARED_NUMBERS}}},
            {"m": minimum(**{name: row.get(name, 1.0) for name in COMPARED_NUMBERS})}
            if set(row) - set(STATISTIC)
            else {},
        )
        for row in rows
    ]
    return measure_bands(replicates, points={"s": K}, images=IMAGES)


def band_of(name: str, values: Sequence[float]) -> Band | None:
    bands = bands_of([{name: value} for value in values])
    return bands.of_number("m", name) if name in COMPARED_NUMBERS else bands.of_statistic("s", "m", name)


def possible(name: str) -> st.SearchStrategy[float]:
    """Every value that a number can have, its ends often among them."""
    range_ = RANGES[name].sized(SIZES)
    least, most = float(range_.least), min(float(range_.most), 1e4)
    return st.one_of(st.sampled_from([least, most]), st.floats(least, most))


@pytest.mark.parametrize("name", [info.name for info in STATISTICS if not info.range.no_band] + list(COMPARED_NUMBERS))
@settings(max_examples=20)
@given(data=st.data())
def test_no_band_reaches_beyond_what_its_number_can_be(name: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(possible(name), min_size=2, max_size=6))
    band, range_ = band_of(name, values), RANGES[name].sized(SIZES)
    if band is not None:
        assert range_.least <= band.low <= band.high <= float(range_.most)


@pytest.mark.parametrize(
    ("name", "values", "most"),
    [
        ("train_accuracy", [1.0, 0.96, 0.99, 1.0], 1.0),
        ("convex_fraction", [0.95, 0.6, 0.9, 0.85], 1.0),
        ("low_loss_fraction_0.5", [0.1, 0.5, 0.7, 0.9], 1.0),
        ("axis_asymmetry", [0.1, 1.9, 0.3, 1.2], 2.0),
    ],
)
def test_a_share_has_its_band_between_its_ends(name: str, values: list[float], most: float) -> None:
    band = band_of(name, values)
    assert band is not None
    assert 0 <= band.low < min(values) < max(values) <= band.high <= most


def test_counts_are_not_negative_and_a_surface_has_one_minimum_at_least() -> None:
    none, minima = band_of("non_finite", [0, 0, 0, 0]), band_of("local_minima", [1, 2, 3, 5])
    assert none is not None
    assert minima is not None
    assert (none.low, minima.low) == (0.0, 1.0)
    assert none.high < 100


def test_a_share_that_was_always_one_has_a_band_that_ends_there() -> None:
    band = band_of("train_accuracy", [1.0] * 8)
    assert band is not None
    assert (band.high, band.scale) == (1.0, "logit")
    assert band.holds(1.0)
    assert not band.holds(0.5)


def test_the_scale_of_a_share_is_the_same_from_both_ends() -> None:
    low, high = band_of("convex_fraction", [0.1, 0.2, 0.3]), band_of("convex_fraction", [0.9, 0.8, 0.7])
    assert low is not None
    assert high is not None
    assert (low.low, low.high) == (pytest.approx(1 - high.high), pytest.approx(1 - high.low))


@pytest.mark.parametrize("scale", ["linear", "log", "logit"])
@given(value=st.floats(1e-3, 1 - 1e-3))
def test_a_place_on_a_scale_leads_back_to_its_number(scale, value: float) -> None:
    range_ = Range(scale, floor=1e-4)
    assert place_back(place(value, range_), range_) == pytest.approx(value, rel=1e-12)


def test_one_more_replicate_lies_in_the_band_of_a_share_as_often_as_promised() -> None:
    random, trials, inside = np.random.default_rng(3), 200, 0
    for _ in range(trials):
        logits = 2 + 1.5 * random.standard_normal(6)
        *seen, new = (round(200 / (1 + math.exp(-logit))) / 200 for logit in logits)
        band = band_of("train_accuracy", seen)
        assert band is not None
        inside += band.holds(new)
    # Four standard deviations of a binomial; the seed is fixed, so this never fails by chance.
    assert inside / trials >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / trials)


def test_every_replicate_lies_in_its_own_bands_also_at_an_end() -> None:
    rows = [{"train_accuracy": accuracy, "low_loss_fraction_0.1": share, "loss_mean": loss} for accuracy, share, loss in
            [(1.0, 0.2, 0.5), (0.995, 0.9, 0.01), (0.8, 1.0, 2.0), (1.0, 0.4, 0.3), (0.9, 1 / 121, 7.0)]]  # fmt: skip
    bands = bands_of(rows)
    for row in rows:
        for name, value in row.items():
            band = bands.of_number("m", name) or bands.of_statistic("s", "m", name)
            assert band is not None
            assert band.holds(value)


@pytest.mark.parametrize(
    ("name", "values", "idle"),
    [
        ("train_loss_at_minimum", [2e-4, 0.3, 0.01, 0.05], True),
        ("train_loss_at_minimum", [0.30, 0.31, 0.32, 0.29], False),
        ("convex_fraction", [0.1, 0.95, 0.5, 0.2], True),
        ("convex_fraction", [0.5, 0.55, 0.52, 0.48], False),
        ("sharpness_0.5", [0.0, 4.0, 0.5, 90.0], True),
    ],
)
def test_a_band_that_judges_nothing_says_so(name: str, values: list[float], idle: bool) -> None:
    bands = bands_of([{name: value} for value in values])
    place = f"m/{name}" if name in COMPARED_NUMBERS else f"s/m/{name}"
    assert (place in bands.judging_nothing()) == idle
    document = bands.document()
    of = document["minima"]["m"] if name in COMPARED_NUMBERS else document["statistics"]["s"]["m"]
    assert of[name]["judges_nothing"] is idle


def test_a_statistic_that_nobody_gave_a_range_has_no_band_of_its_own_accord() -> None:
    with pytest.raises(LookupError, match=r"brand_new.*catalogue\.py"):
        bands_of([{"brand_new": 1.0}, {"brand_new": 2.0}])


def test_a_spec_ends_what_it_limits() -> None:
    """A clipped loss, a radius within the grid, epochs up to max_epochs."""
    spec = parse_spec(
        "version: 1\nname: x\ndata: {name: digits}\nmodels: [{name: m, kind: dnn}]\n"
        "training: {max_epochs: 9, clip_probability: 1e-7}\nsurfaces: [{name: s, grid: {K: 11, step: 0.5}}]\n"
    )
    sizes = sizes_of(spec)
    assert sizes["s", "m"] == {"epochs": 9, "largest loss": -math.log(1e-7), "reach": 5.0}
    rows = [{"half_rise_radius": radius, "loss_max": loss} for radius, loss in [(0.1, 1.0), (4.9, 16.0), (2.0, 5.0)]]
    replicates = [
        Replicate({"s": {"m": row}}, {"m": minimum(**dict.fromkeys(COMPARED_NUMBERS, 1.0) | {"epochs": 2.0 * at + 2})})
        for at, row in enumerate(rows)
    ]
    bands = measure_bands(replicates, points={"s": 11}, images=IMAGES, sizes=sizes)
    radius, loss, epochs = (
        bands.of_statistic("s", "m", "half_rise_radius"),
        bands.of_statistic("s", "m", "loss_max"),
        bands.of_number("m", "epochs"),
    )
    assert radius is not None
    assert loss is not None
    assert epochs is not None
    assert (radius.high, loss.high, epochs.high) == (5.0, -math.log(1e-7), 9.0)
    assert epochs.low >= 1


OLD = {
    "n": 20, "confidence": 0.999, "coverage": 0.95, "comparisons": 2, "categories": {"m": {"GM": 20}},
    "statistics": {"s": {"m": {"convex_fraction": {
        "n": 20, "mean": 0.85, "deviation": 0.13, "low": 0.04, "high": 1.66, "scale": "linear"}}}},
    "minima": {"m": {"train_accuracy": {
        "n": 20, "mean": 0.99, "deviation": 0.01, "low": 0.95, "high": 1.03, "scale": "linear"}}},
}  # fmt: skip


def test_bands_of_an_older_version_are_cut_to_what_can_be() -> None:
    bands = read_bands(OLD, name="bands.json")
    convex, accuracy = bands.of_statistic("s", "m", "convex_fraction"), bands.of_number("m", "train_accuracy")
    assert convex is not None
    assert accuracy is not None
    assert (convex.low, convex.high, convex.judges_nothing) == (0.04, 1.0, True)
    assert (accuracy.low, accuracy.high, accuracy.judges_nothing) == (0.95, 1.0, False)


def test_a_band_that_its_number_can_never_reach_is_damage() -> None:
    document = json.loads(json.dumps(OLD))
    document["minima"]["m"]["train_accuracy"].update(low=1.01, high=1.5)
    with pytest.raises(
        DamagedError, match=r"bands\.json: m/train_accuracy: expected a band within the range of the number"
    ):
        read_bands(document, name="bands.json")
