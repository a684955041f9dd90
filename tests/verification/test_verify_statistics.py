"""Level statistics: numbers and figures follow from the surfaces; what doesn't is a difference, exit code 1."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tmrepro
from tests.verification.checks import failures
from tmrepro.verification import Check, Verdict
from tmrepro.verification.figures import grade_figure
from tmrepro.verification.level_statistics import check_statistics


def statistics(run: Path) -> Verdict:
    return tmrepro.verify(run, level="statistics")


def test_a_whole_run_is_identical(whole_run: Path) -> None:
    verdict = statistics(whole_run)
    assert verdict.exit_code == 0
    assert {check.grade for check in verdict.checks} == {"identical"}
    assert {check.level for check in verdict.checks} == {"integrity", "statistics"}
    assert not verdict.warnings


def test_a_changed_statistic_is_found_in_spite_of_a_manifest_that_holds(forger: Any) -> None:
    forger.json("statistics.json", lambda document: document["paper"]["cnn"].update(loss_mean=1.25))
    forger.seal()
    assert tmrepro.verify(forger.run, level="integrity").exit_code == 0
    verdict = statistics(forger.run)
    assert verdict.exit_code == 1
    failed = [check for check in verdict.checks if not check.passed]
    assert [(check.level, check.subject) for check in failed] == [("statistics", "statistics.json paper/cnn")]
    assert "loss_mean: stored 1.25" in failed[0].detail


def test_swapped_figures_are_found_in_spite_of_a_manifest_that_holds(forger: Any) -> None:
    figures = forger.run / "figures"
    figures.joinpath("paper.png").rename(figures / "other")
    figures.joinpath("paper.shared.png").rename(figures / "paper.png")
    figures.joinpath("other").rename(figures / "paper.shared.png")
    forger.seal()
    verdict = statistics(forger.run)
    assert verdict.exit_code == 1
    wrong = ("statistics", "different")
    assert failures(verdict) == {"figures/paper.png": wrong, "figures/paper.shared.png": wrong}


def recheck(run: Path) -> list[Check]:
    """Check the statistics, and nothing else. Return the checks that do not pass."""
    checks, _ = check_statistics(tmrepro.open_run(run))
    return [check for check in checks if not check.passed]


@pytest.mark.parametrize(
    ("value", "grade"),
    [
        (None, "different"),
        (-1, "different"),
        ("1.0", "damaged"),
        (True, "damaged"),
        ([], "damaged"),
        ({}, "damaged"),
        (10**400, "damaged"),
    ],
    ids=["null", "number", "text", "true", "list", "object", "huge"],
)
def test_whatever_stands_in_place_of_a_statistic_does_not_pass(forger: Any, value: Any, grade: str) -> None:
    forger.json("statistics.json", lambda document: document["paper"]["dnn"].update(loss_max=value))
    (found,) = recheck(forger.run)
    assert found.subject.startswith("statistics.json")
    assert found.grade == grade


@pytest.mark.parametrize(
    "document",
    [{}, {"paper": 5}, {"paper": {"dnn": {}}}, {"paper": {"dnn": [], "cnn": []}}, {"more": {}, "paper": {}}],
    ids=["empty", "number", "model missing", "lists", "surface too many"],
)
def test_statistics_of_another_form_do_not_pass(forger: Any, document: Any) -> None:
    forger.json("statistics.json", lambda _: document)
    assert {check.subject for check in recheck(forger.run)} == {"statistics.json"}


def test_a_surface_without_its_statistics_is_a_difference(forger: Any) -> None:
    def tilt(loss: np.ndarray, _: np.ndarray) -> None:
        loss[:] += np.arange(5.0)[:, None]

    forger.surface("paper", "dnn", tilt)
    # The pictures differ as well: they are drawn from the surface.
    assert {"statistics.json paper/dnn", "figures/paper.png"} <= {check.subject for check in recheck(forger.run)}


def test_a_figure_too_many_and_one_too_few_are_found(forger: Any) -> None:
    shutil.move(forger.run / "figures/paper.png", forger.run / "figures/more.png")
    found = {check.subject: check.grade for check in recheck(forger.run)}
    assert found == {"figures/paper.png": "damaged", "figures/more.png": "different"}


def test_one_pixel_is_a_difference_where_the_same_packages_drew_it(forger: Any) -> None:
    path = forger.run / "figures/paper.png"
    picture = Image.open(path).convert("RGBA")
    picture.putpixel((5, 9), (250, 0, 0, 255))
    picture.save(path)
    (found,) = recheck(forger.run)
    assert (found.subject, found.grade) == ("figures/paper.png", "different")


def test_few_pixels_may_move_under_another_matplotlib(forger: Any) -> None:
    picture = Image.open(forger.run / "figures/paper.png").convert("RGBA")
    picture.putpixel((5, 9), (250, 0, 0, 255))
    picture.save(forger.run / "figures/paper.png")
    (forger.run / "figures/paper.pdf").write_bytes(b"%PDF-1.4 another drawing")
    forger.json("provenance.json", lambda document: document["packages"].update(matplotlib="3.0"))
    checks, remarks = check_statistics(tmrepro.open_run(forger.run))
    found = {check.subject: check.grade for check in checks}
    assert found["figures/paper.png"] == "equal"
    # A PDF has no pixels to count, so nothing is said of it, and that is said loudly.
    assert "figures/paper.pdf" not in found
    assert "figures/paper.pdf" in remarks.warnings[0]
    assert "matplotlib 3.0" in remarks.warnings[0]


def test_a_history_without_epochs_is_damage(forger: Any) -> None:
    path = forger.run / "models/dnn/history.csv"
    path.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    assert [(check.subject, check.grade) for check in recheck(forger.run)] == [("models/dnn/history.csv", "damaged")]


def test_a_changed_history_shows_in_the_training_curves(forger: Any) -> None:
    path = forger.run / "models/dnn/history.csv"
    rows = path.read_text(encoding="utf-8").splitlines()
    cells = rows[3].split(",")
    rows[3] = ",".join([cells[0], "1.5", *cells[2:]])
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert {check.subject for check in recheck(forger.run)} == {
        "figures/training.curves.pdf",
        "figures/training.curves.png",
    }


@pytest.mark.parametrize("field", [{"category": 5}, {"epochs": "x"}, {"model": "cnn"}, {"more": 1}])
def test_a_minimum_that_is_no_record_is_damage(forger: Any, field: dict[str, Any]) -> None:
    forger.minimum("dnn", **field)
    assert {check.grade for check in recheck(forger.run)} == {"damaged"}


def pdf(content: bytes, *, level: int) -> bytes:
    stream = zlib.compress(content, level)
    return b"%%PDF-1.4\n1 0 obj\n<< /Length %d >>\nstream\n%b\nendstream\nendobj\n" % (len(stream), stream)


def test_a_pdf_is_what_it_draws_and_not_how_it_was_packed() -> None:
    content = b"0 0 m 10 10 l S " * 40
    stored, again, other = pdf(content, level=1), pdf(content, level=9), pdf(content.replace(b"l", b"c"), level=9)
    assert stored != again
    assert grade_figure(stored, again, pdf=True, exact=True)[0] == "equal"
    assert grade_figure(stored, other, pdf=True, exact=True)[0] == "different"
    assert grade_figure(stored, stored, pdf=True, exact=True)[0] == "identical"


@pytest.mark.slow
@pytest.mark.parametrize(("level", "loaded"), [("statistics", False), ("audit", True)])
def test_an_audit_alone_starts_a_process_where_torch_was_loaded_before(
    whole_run: Path, level: str, loaded: bool
) -> None:
    program = (
        "import sys, torch, tmrepro\n"
        "verdict = tmrepro.verify(sys.argv[1], level=sys.argv[2])\n"
        "print('tmrepro.api.isolation.caller' in sys.modules, verdict.grade)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, str(whole_run), level],
        env={"HOME": str(whole_run.parent), "PATH": ""},  # without what portable determinism sets
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    separate, grade = told.stdout.split()
    assert separate == str(loaded)
    # A process of the caller's own has NumPy's fastest instructions, which round otherwise on some processors.
    assert grade == "identical" if loaded else grade in {"identical", "equal"}


def test_the_checks_of_json_documents_do_not_depend_on_their_layout(forger: Any) -> None:
    path = forger.run / "statistics.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    forger.seal()
    assert statistics(forger.run).grade == "identical"
