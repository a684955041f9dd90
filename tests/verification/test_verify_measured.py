"""The measured error and the depth of planes: shown, compared, and measured again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import tmrepro
from tests.verification.checks import audit, compare
from tests.verification.forger import Forger
from tmrepro.reporting.report import number
from tmrepro.statistics import STATISTICS
from tmrepro.store.surfaces import read_facts
from tmrepro.verification.level_statistics import check_statistics
from tmrepro.verification.measured import grade_error, remarks_on_errors
from tmrepro.verification.platforms import Platforms

ELSEWHERE = Platforms(("processor another",))


def test_attribute_statistics_page_and_verdict_agree(whole_run: Path) -> None:
    view = tmrepro.open_run(whole_run)
    page = (whole_run / "report.html").read_text(encoding="utf-8")
    _, remarks = check_statistics(view)
    (note,) = [note for note in remarks.notes if note.startswith("error against float64")]
    for surface, model in view.surfaces:
        error = read_facts(whole_run, surface, model).error
        assert error is not None
        assert error.over_bound is not None
        assert (len(set(error.points)), error.images, error.note) == (4, 60, None)
        assert 0 < error.over_bound <= 1
        assert view.statistics[surface][model]["error_over_bound"] == error.over_bound
        assert view.surface(surface, model).attrs["error_over_bound"] == error.over_bound
        assert number(error.over_bound) in page
        assert f"{surface}/{model} {error.over_bound:.2g}" in note
    assert remarks.warnings == ()
    assert STATISTICS[-1].name == "error_over_bound"


def test_minimum_json_and_the_page_say_how_far_each_plane_goes_below_theta(whole_run: Path) -> None:
    view = tmrepro.open_run(whole_run)
    page = (whole_run / "report.html").read_text(encoding="utf-8")
    for model in view.models:
        stored = json.loads((whole_run / "models" / model / "minimum.json").read_text())["depth_below_minimum"]
        loss = view.surface("paper", model).loss
        depth = float(loss[0, 0] - loss.min())
        assert stored == {"paper": depth}
        assert view.statistics["paper"][model]["depth_below_minimum"] == depth
        assert (f"paper: lowest point of this plane is {number(depth)} below" in page) == (depth > 1e-3)


@pytest.mark.parametrize("values", [{"error_over_bound": 0.5}, {"error_over_bound": None, "error_note": "unknown"}])
def test_an_attribute_that_is_not_what_statistics_json_says_is_a_difference(
    forger: Forger, values: dict[str, Any]
) -> None:
    forger.error("paper", "dnn", **values)
    checks, _ = check_statistics(tmrepro.open_run(forger.run))
    (found,) = [check for check in checks if not check.passed]
    assert (found.subject, found.grade) == ("statistics.json paper/dnn", "different")
    assert found.detail.startswith("error_over_bound: stored ")


@pytest.mark.parametrize("platforms", [Platforms(()), ELSEWHERE])
@pytest.mark.parametrize(
    "values", [{"error_over_bound": 0.0}, {"error_points": [[0, 0], [1, 1], [2, 2], [3, 3]]}, {"error_images": 7}]
)
def test_an_error_that_theta_does_not_give_is_found_by_the_audit(
    forger: Forger, values: dict[str, Any], platforms: Platforms
) -> None:
    forger.error("paper", "dnn", **values)
    forger.restate()
    forger.seal()
    (found,) = audit(forger.run, platforms=platforms)
    assert (found.subject, found.grade) == ("surfaces.zarr/paper/dnn", "different")
    assert "error_over_bound: " in found.detail


def test_a_surface_without_a_measured_error_is_said_to_have_none(forger: Forger) -> None:
    def forget(document: Any) -> None:
        for name in ("error_over_bound", "error_points", "error_images"):
            del document["attributes"][name]

    forger.json("surfaces.zarr/paper/dnn/zarr.json", forget)
    forger.error("paper", "cnn")  # the copy for xarray, made anew
    forger.restate()
    forger.seal()
    _, remarks = check_statistics(tmrepro.open_run(forger.run))
    assert remarks.warnings == ("paper/dnn: its error against float64 was not measured",)
    (found,) = audit(forger.run)
    assert found.detail.endswith("its error was not measured")


def test_a_plane_that_is_said_to_be_less_deep_is_a_difference(forger: Forger) -> None:
    for depths in ({"paper": 0.25}, {}, {"paper": None}, {"paper": 0.0, "more": 0.0}):
        forger.minimum("cnn", depth_below_minimum=depths)
        checks, _ = check_statistics(tmrepro.open_run(forger.run))
        assert [check.subject for check in checks if not check.passed] == ["models/cnn/minimum.json"]


@pytest.mark.parametrize(
    ("found", "expected", "grade"),
    [
        (0.9, 0.1, "equal"), (1.1, 0.1, "different"), (1.1, 1.2, "equal"), (1.3, 1.2, None), (None, 0.1, None),
        (0.1, None, None), ("x", 0.1, None),
    ],
)  # fmt: skip
def test_the_error_of_another_platform_is_judged_by_the_bound(
    found: object, expected: object, grade: str | None
) -> None:
    assert grade_error(found, expected) == grade


def test_a_replicate_with_another_error_agrees(whole_run: Path, reference: Path) -> None:
    forger = Forger(reference)
    forger.json("statistics.json", lambda document: document["paper"]["dnn"].update(error_over_bound=0.75))
    forger.seal()
    checks, _ = compare(whole_run, reference, replicate=True)
    check = checks["statistics paper/dnn"]
    (held,) = [held for held in check.numbers if held.name == "error_over_bound"]
    assert (check.passed, held.grade) == (True, "equal")
    assert dataclasses.replace(held, grade="equal") == held


def test_of_many_surfaces_the_largest_error_is_named():
    view = tmrepro.open_run(Path(__file__).parents[2] / "paper" / "reference" / "paper-cpu")
    errors = [read_facts(view.folder, *of).error.over_bound for of in view.surfaces]
    (note,) = remarks_on_errors(view).notes
    assert f"at most {max(errors):.2g} (" in note
    assert f"in {len(errors)} surfaces" in note
    assert len(note) < 200
