"""A reference and a folder of `loss_surface` are verified as what they are: whole is not damaged, and damage has a name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

import tmrepro
from tests.support.runs import seal
from tests.verification.forger import Forger
from tmrepro.errors import UsageError
from tmrepro.store.kept_surfaces import kept_group
from tmrepro.verification import Verdict
from tmrepro.verification.document import verdict_document, verdict_schema
from tmrepro.verification.junit import write_junit


def failed(verdict: Verdict) -> dict[str, str]:
    return {check.subject: check.grade for check in verdict.checks if not check.passed}


@pytest.fixture(scope="session")
def whole_kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kept surface of 5 x 5 points in chunks of 3 x 3 that nobody may change."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("kept") / "mine"
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    inputs, targets = torch.randn(20, 4), torch.randint(3, (20,))
    tmrepro.loss_surface(
        model, "cross_entropy", inputs, targets, grid=5, origin="center", step=0.5, chunk=3, out=folder
    )
    return folder


@pytest.fixture
def kept(whole_kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_kept, tmp_path / "mine"))


def test_a_whole_reference_is_verified_as_far_as_it_can_be(whole_reference: Path) -> None:
    verdict = tmrepro.verify(whole_reference)
    assert (verdict.level, verdict.exit_code, verdict.reference) == ("statistics", 0, None)
    subjects = {check.subject for check in verdict.checks}
    assert {
        "bands.json",
        "provenance.json",
        "surfaces.zarr",
        "statistics.json paper/dnn",
        "figures/paper.png",
    } <= subjects
    assert any("this is a reference" in note and "spec.yaml --reference" in note for note in verdict.notes)
    assert not any("no reference for this spec" in note for note in verdict.notes)


def test_the_shipped_reference_is_whole() -> None:
    folder = Path(__file__).parents[2] / "paper" / "reference" / "quickstart"
    assert failed(tmrepro.verify(folder, level="integrity")) == {}


def test_a_reference_may_be_held_against_another(whole_reference: Path, reference: Path) -> None:
    verdict = tmrepro.verify(reference, reference=whole_reference)
    assert (verdict.grade, verdict.same_bits) == ("identical", True)


@pytest.mark.parametrize("level", ["audit", "rerun"])
def test_a_level_that_needs_weights_is_refused_in_words(whole_reference: Path, whole_kept: Path, level: str) -> None:
    with pytest.raises(UsageError, match=rf"level {level}: .* is a reference without weights.*spec\.yaml"):
        tmrepro.verify(whole_reference, level=level)
    with pytest.raises(UsageError, match=rf"level {level}: .* kept by tmrepro\.loss_surface"):
        tmrepro.verify(whole_kept, level=level)


@pytest.mark.parametrize(
    "relative",
    ["bands.json", "spec.yaml", "statistics.json", "provenance.json", "figures/paper.png", "models/dnn/minimum.json",
     "models/cnn/history.csv", "surfaces.zarr/paper/dnn/loss/c/0/1", "surfaces.zarr/paper/zarr.json"],
)  # fmt: skip
@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_a_damaged_reference_names_its_file(reference: Path, relative: str, damage: str) -> None:
    path = reference / relative
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "flipped":
        path.write_bytes(data)
    else:
        path.unlink()
    verdict = tmrepro.verify(reference)
    assert failed(verdict) == {relative: "damaged"}
    assert verdict.exit_code == 3


@pytest.mark.parametrize(
    ("relative", "old", "new"),
    [
        ("models/dnn/minimum.json", '"validation_loss": ', '"validation_loss": 1'),
        ("models/cnn/history.csv", "\n2,", "\n2,1"),
        ("bands.json", '"high": ', '"high": -9'),
        ("bands.json", '"n": 3', '"n": "3"'),
        ("provenance.json", '"key": "', '"key": "0'),
    ],
)
def test_a_forged_file_of_a_reference_is_named_under_a_manifest_that_holds(
    reference: Path, relative: str, old: str, new: str
) -> None:
    path = reference / relative
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    seal(reference)
    verdict = tmrepro.verify(reference)
    assert failed(verdict) == {relative: "damaged"}


def test_forged_statistics_of_a_reference_are_a_difference(reference: Path) -> None:
    forger = Forger(reference)
    forger.json("statistics.json", lambda document: document["paper"]["dnn"].update(loss_max=1e-3))
    forger.seal()
    verdict = tmrepro.verify(reference)
    assert (failed(verdict), verdict.exit_code) == ({"statistics.json paper/dnn": "different"}, 1)


def test_a_forged_surface_of_a_reference_gives_other_statistics_and_figures(reference: Path) -> None:
    forger = Forger(reference)
    forger.surface("paper", "dnn", lambda loss, _: loss.__setitem__((4, 4), 1e3))
    forger.seal()
    assert {"statistics.json paper/dnn", "figures/paper.png"} <= set(failed(tmrepro.verify(reference)))


@pytest.mark.parametrize("relative", ["models/dnn/theta.safetensors", "figures/paper.pdf", "notes.txt"])
def test_a_reference_has_its_own_files_and_no_other(reference: Path, relative: str) -> None:
    (reference / relative).write_bytes(b"x")
    seal(reference, records=True)
    assert relative in failed(tmrepro.verify(reference))


def test_a_run_that_pretends_to_be_a_reference_is_caught(run: Path, whole_reference: Path) -> None:
    shutil.copy(whole_reference / "bands.json", run / "bands.json")
    seal(run, records=True)
    assert "models/dnn/theta.safetensors" in failed(tmrepro.verify(run))


def test_neither_becomes_a_reference(whole_reference: Path, whole_kept: Path) -> None:
    from tmrepro.api import update_reference

    for folder in (whole_reference, whole_kept):
        with pytest.raises(UsageError, match="is not a run"):
            update_reference(folder, confirm=lambda _: True, reference=whole_reference)


def test_a_whole_kept_surface_is_verified_with_its_statistics(whole_kept: Path) -> None:
    verdict = tmrepro.verify(whole_kept)
    assert (verdict.level, verdict.exit_code, failed(verdict)) == ("statistics", 0, {})
    (check,) = [check for check in verdict.checks if check.level == "statistics"]
    values = {held.name: held.value for held in check.numbers}
    assert values["non_finite"] == 0
    assert values["loss_max"] > values["loss_at_minimum"] > 0
    assert any("loss_surface" in note for note in verdict.notes)


def test_a_rectangle_with_axes_of_its_own_is_whole_and_has_no_statistics(tmp_path: Path) -> None:
    model, inputs = torch.nn.Linear(3, 2), torch.randn(8, 3)
    axes = [-1.0, 0.0, 0.5, 2.0, 3.0], [0.5, 1.0]
    tmrepro.loss_surface(model, "cross_entropy", inputs, torch.zeros(8, dtype=torch.int64), grid=axes, chunk=2,
                         out=tmp_path / "mine")  # fmt: skip
    verdict = tmrepro.verify(tmp_path / "mine")
    assert verdict.exit_code == 0
    assert "it has no statistics: theta* is not a point of it" in verdict.checks[-1].detail


def test_every_file_of_a_kept_surface_is_missed(whole_kept: Path, tmp_path: Path) -> None:
    files = [path.relative_to(whole_kept).as_posix() for path in whole_kept.rglob("*") if path.is_file()]
    assert len(files) == 1 + 3 + 4 + 2 + 8
    for number, relative in enumerate(files):
        copy = Path(shutil.copytree(whole_kept, tmp_path / str(number)))
        (copy / relative).unlink()
        verdict = tmrepro.verify(copy)
        assert (failed(verdict), verdict.exit_code) == ({relative: "damaged"}, 3)


@pytest.mark.parametrize("array", ["loss/c/0/1", "accuracy/c/1/1", "a/c/0", "loss/zarr.json"])
def test_a_flipped_bit_of_a_kept_surface_is_found(kept: Path, array: str) -> None:
    relative = f"surfaces.zarr/own/model/{array}"
    data = bytearray((kept / relative).read_bytes())
    data[len(data) // 2] ^= 4
    (kept / relative).write_bytes(data)
    assert failed(tmrepro.verify(kept)) == {relative: "damaged"}


def test_what_does_not_fit_together_is_found(kept: Path) -> None:
    def changed(relative: str, change: Callable[[Any], Any]) -> dict[str, str]:
        path = kept / relative
        text = path.read_text(encoding="utf-8")
        document = json.loads(text)
        change(document)
        path.write_text(json.dumps(document), encoding="utf-8")
        found = failed(tmrepro.verify(kept))
        path.write_text(text, encoding="utf-8")
        return found

    axis = "surfaces.zarr/own/model/a/c/0"
    assert changed("question.json", lambda question: question["grid"]["a"].__setitem__(0, -7.0)) == {axis: "damaged"}
    assert changed("question.json", lambda question: question["grid"].update(chunk=2)) == {"question.json": "damaged"}
    assert changed("question.json", lambda question: question.pop("grid")) == {"question.json": "damaged"}
    metadata, own = "surfaces.zarr/own/model/zarr.json", "surfaces.zarr/zarr.json"
    told = changed(metadata, lambda group: group["attributes"].update(theta_norm=1.0))
    assert told == {own: "damaged"}  # its copy tells another story
    (kept / "notes.txt").write_text("x", encoding="utf-8")
    assert failed(tmrepro.verify(kept)) == {"notes.txt": "damaged"}


def test_forged_values_that_cannot_be_are_found(kept: Path) -> None:
    loss, accuracy = np.full((3, 3), 0.5), np.full((3, 3), 0.5)
    kept_group(kept).write((0, 0), loss, accuracy + 1)
    shutil.rmtree(kept / ".work")
    assert set(failed(tmrepro.verify(kept))) == {
        "surfaces.zarr/own/model/accuracy/c/0/0",
        "surfaces.zarr/own/model/loss/c/0/0",  # where theta* is, and question.json knows its loss
    }


def test_a_kept_surface_that_is_not_finished_says_how_to_go_on(kept: Path) -> None:
    (kept / ".work").mkdir()
    (check,) = [check for check in tmrepro.verify(kept).checks if not check.passed]
    assert check.subject == ".work"
    assert "the same call of tmrepro.loss_surface" in check.detail


def test_the_measured_error_of_a_kept_surface_is_told(kept: Path) -> None:
    from tmrepro.store.zarr_metadata import consolidated

    def with_error(value: Any) -> Verdict:
        store = kept / "surfaces.zarr"
        group = json.loads((store / "own/model/zarr.json").read_text(encoding="utf-8"))
        group["attributes"]["error_over_bound"] = value
        (store / "own/model/zarr.json").write_text(json.dumps(group), encoding="utf-8")
        nodes = {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("zarr.json")}
        nodes["zarr.json"] = b'{"zarr_format": 3, "node_type": "group"}'
        (store / "zarr.json").write_bytes(consolidated(nodes))
        return tmrepro.verify(kept)

    assert any("measured error: 0.25 of the bound" in note for note in with_error(0.25).notes)
    assert any("measured error: 3 of the bound" in warning for warning in with_error(3.0).warnings)
    assert failed(with_error(-1.0)) == {"surfaces.zarr/own/model/zarr.json": "damaged"}


def test_a_kept_surface_has_no_reference(whole_kept: Path, whole_reference: Path) -> None:
    for options in ({"reference": whole_reference}, {"replicate": True}):
        with pytest.raises(UsageError, match="no reference to compare it with"):
            tmrepro.verify(whole_kept, **options)


def test_json_and_junit_tell_of_both(whole_reference: Path, whole_kept: Path, tmp_path: Path) -> None:
    for folder in (whole_reference, whole_kept):
        verdict = tmrepro.verify(folder)
        jsonschema.Draft202012Validator(verdict_schema()).validate(verdict_document(verdict))
        write_junit(verdict, tmp_path / "verdict.xml")
        (suite,) = ET.parse(tmp_path / "verdict.xml").getroot()  # noqa: S314 - we wrote it
        assert suite.get("failures") == "0"
        assert len(list(suite.iter("testcase"))) == len(verdict.checks)


def test_exit_codes_of_the_command(whole_reference: Path, whole_kept: Path, kept: Path) -> None:
    (kept / "surfaces.zarr/own/model/loss/c/1/0").unlink()
    script = Path(sys.executable).with_name("tmrepro")
    cases = ((0, whole_kept, ()), (3, kept, ()), (2, whole_reference, ("--level", "audit")))
    for code, folder, options in cases:
        done = subprocess.run(
            [script, "verify", folder, "--json", *options], capture_output=True, text=True, check=False
        )
        assert (done.returncode, json.loads(done.stdout)["exit_code"]) == (code, code), done
        assert "Traceback" not in done.stderr
