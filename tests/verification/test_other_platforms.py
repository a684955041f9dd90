"""A run held against a reference of another platform: what may differ, by how much, and what makes a platform another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tmrepro
from tests.support.runs import forge_json
from tests.verification.checks import compare
from tests.verification.forger import Forger


def elsewhere(reference: Path) -> None:
    """Make a reference one of another platform."""
    forge_json(reference, "provenance.json", lambda document: document["packages"].update(torch="1.0"))


def scaled(reference: Path, factor: float) -> None:
    """Scale the losses of a reference's surface, and state the statistics that follow."""
    from tmrepro.runner.outputs import statistics_of

    Forger(reference).surface("paper", "dnn", lambda loss, _: np.multiply(loss, factor, out=loss))
    found = statistics_of(reference, [("paper", "dnn"), ("paper", "cnn")])
    forge_json(reference, "statistics.json", lambda _: found)


def test_rounding_of_another_platform_is_equal(whole_run: Path, reference: Path) -> None:
    scaled(reference, 1 + 1e-6)
    here = tmrepro.verify(whole_run, level="statistics", reference=reference)
    assert (here.grade, here.exit_code) == ("equal", 0)
    assert "NOT bitwise identical to the reference" in here.warnings[0]
    assert "surface paper/dnn" in here.warnings[0]
    elsewhere(reference)
    there = tmrepro.verify(whole_run, level="statistics", reference=reference)
    assert (there.grade, there.exit_code, there.warnings) == ("equal", 0, ())
    assert any("packages" not in note and "torch" in note and "1.0" in note for note in there.notes)


def test_only_another_platform_may_be_consistent(whole_run: Path, reference: Path) -> None:
    scaled(reference, 1.01)
    checks, _ = compare(whole_run, reference)
    assert checks["surface paper/dnn"].grade == checks["statistics paper/dnn"].grade == "different"
    assert checks["surface paper/cnn"].grade == "identical"
    elsewhere(reference)
    checks, comparison = compare(whole_run, reference)
    assert checks["surface paper/dnn"].grade == checks["statistics paper/dnn"].grade == "consistent"
    assert "3 replicates" in checks["statistics paper/dnn"].detail
    # Pictures of surfaces that differ for a good reason are not called anything.
    assert not any(subject.startswith("figures/") for subject in checks)
    assert "figures" in comparison.remarks.warnings[0]


def test_outside_its_band_is_different_on_any_platform(whole_run: Path, reference: Path) -> None:
    elsewhere(reference)
    forger = Forger(reference)

    def narrow(document: Any) -> None:
        band = document["statistics"]["paper"]["dnn"]["loss_max"]
        band.update(low=band["low"] * 1e-3, high=band["low"] * 2e-3)

    forger.json("bands.json", narrow)
    scaled(reference, 1.01)
    checks, _ = compare(whole_run, reference)
    assert checks["statistics paper/dnn"].grade == checks["surface paper/dnn"].grade == "different"
    assert checks["statistics paper/dnn"].detail.startswith("loss_max: ")
    assert "band" in checks["statistics paper/dnn"].detail


def test_without_bands_another_platform_has_no_excuse(whole_run: Path, single: Path) -> None:
    elsewhere(single)
    scaled(single, 1.01)
    checks, _ = compare(whole_run, single)
    assert checks["statistics paper/dnn"].grade == "different"


def test_a_statistic_without_a_band_is_not_judged_and_that_is_said(whole_run: Path, reference: Path) -> None:
    elsewhere(reference)
    forger = Forger(reference)
    forger.json("bands.json", lambda document: document["statistics"]["paper"]["dnn"].pop("loss_max") and None)
    scaled(reference, 1.01)
    checks, comparison = compare(whole_run, reference)
    assert checks["statistics paper/dnn"].grade == "consistent"
    assert "loss_max of statistics paper/dnn" in comparison.remarks.warnings[0]


@pytest.mark.parametrize(
    ("numbers", "here", "there"),
    [
        ({"validation_loss": 1.1}, "different", "consistent"),
        ({"validation_loss": 1e9}, "different", "different"),
        ({"category": "LM"}, "different", "different"),
        ({"epochs": 1000}, "different", "different"),
    ],
    ids=lambda value: str(value),
)
def test_a_minimum_agrees_within_its_measured_bands_only(
    forger: Forger, reference: Path, numbers: dict[str, Any], here: str, there: str
) -> None:
    forger.minimum("cnn", **numbers)
    checks, _ = compare(forger.run, reference)
    assert checks["models/cnn"].grade == here
    elsewhere(reference)
    checks, _ = compare(forger.run, reference)
    assert checks["models/cnn"].grade == there


def test_a_category_that_replicates_reached_is_consistent(forger: Forger, reference: Path) -> None:
    Forger(reference).json("bands.json", lambda document: document["categories"].update(cnn={"TM": 2, "GM": 1}))
    elsewhere(reference)
    forger.minimum("cnn", category="GM")
    assert compare(forger.run, reference)[0]["models/cnn"].grade == "consistent"


def test_a_forced_evaluator_is_another_platform(forger: Forger, whole_reference: Path) -> None:
    forger.json(
        "provenance.json", lambda document: document["stages"]["surface/paper/dnn"]["inputs"].update(evaluator="plain")
    )
    _, comparison = compare(forger.run, whole_reference)
    assert comparison.platforms.differences == ("evaluator forced: plain",)


@pytest.mark.parametrize(
    ("place", "value", "exact"),
    [
        (("platform", "processor"), "another", True),  # portable: the same bytes on any processor
        (("platform", "machine"), "arm64", False),
        (("platform", "device"), "cuda: H100", False),
        (("platform", "determinism", "reached"), "machine", False),
        (("platform", "determinism", "reached"), "fast", False),
        (("packages", "numpy"), "9", False),
        (("packages", "pydantic"), "9", True),
    ],
)
def test_which_differences_excuse_other_bits(
    forger: Forger, whole_reference: Path, place: tuple[str, ...], value: str, exact: bool
) -> None:
    def change(document: Any) -> None:
        for key in place[:-1]:
            document = document[key]
        document[place[-1]] = value

    forger.json("provenance.json", change)
    _, comparison = compare(forger.run, whole_reference)
    assert comparison.platforms.exact == exact
