"""`verify --update`: shows what changes, asks, and takes nothing as a reference that contradicts itself."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import tmrepro
from tests.support.runs import contents, forge_json, seal
from tmrepro.api import update_reference
from tmrepro.cli.main import app
from tmrepro.errors import DamagedError
from tmrepro.store.manifest import check_manifest
from tmrepro.verification.reference import Reference


def never(update):
    raise AssertionError(f"asked about {update.changes}")


@pytest.fixture
def reference(made, tmp_path):
    """A copy of the reference, in a folder of its own."""
    return shutil.copytree(made / "reference", tmp_path / "home" / "tiny")


@pytest.fixture
def changed(reference):
    """The reference with another loss_max, validation loss and processor than the run has."""

    def double(statistics):
        statistics["middle"]["dnn"]["loss_max"] *= 2

    forge_json(reference, "statistics.json", double)
    forge_json(reference, "models/dnn/minimum.json", lambda document: document.update(validation_loss=7.25))
    forge_json(reference, "provenance.json", lambda document: document["platform"].update(processor="Abacus"))
    return reference


@pytest.fixture
def run(made):
    return made / "runs" / "0"


def test_everything_that_changes_is_shown_and_a_no_leaves_the_reference_as_it_is(changed, run):
    shown, before = [], contents(changed)
    update, accepted = update_reference(run, reference=changed, confirm=lambda update: bool(shown.append(update)))
    assert not accepted
    assert contents(changed) == before
    assert shown == [update]
    now = json.loads((changed / "statistics.json").read_text())["middle"]["dnn"]["loss_max"]
    after = json.loads((run / "statistics.json").read_text())["middle"]["dnn"]["loss_max"]
    loss = json.loads((run / "models" / "dnn" / "minimum.json").read_text())["validation_loss"]
    processor = json.loads((run / "provenance.json").read_text())["platform"]["processor"]
    assert {(change.what, change.now, change.after) for change in update.changes} == {
        ("middle/dnn/loss_max", repr(now), repr(after)),
        ("models/dnn/validation_loss", "7.25", repr(loss)),
        ("provenance platform.processor", "Abacus", processor),
    }


def test_changed_surfaces_and_figures_are_shown(reference, made):
    other = made / "runs" / "1"
    for name in ("figures", "surfaces.zarr"):
        shutil.rmtree(reference / name)
        shutil.copytree(other / name, reference / name, ignore=shutil.ignore_patterns("*.pdf"))
    (reference / "figures" / "old.png").write_bytes(b"")
    seal(reference)
    update, _ = update_reference(made / "runs" / "0", reference=reference, confirm=lambda _: False)
    changes = {change.what: change for change in update.changes}
    names = {f"figures/{path.name}" for path in (other / "figures").glob("*.png")}
    of_surface = {what for what in changes if what.startswith("surfaces.zarr/middle/dnn/")}
    assert set(changes) == {"figures/old.png", *names, *of_surface}
    assert (changes["figures/old.png"].now, changes["figures/old.png"].after) == ("a figure", "-")
    assert {"surfaces.zarr/middle/dnn/loss", "surfaces.zarr/middle/dnn/delta.seed"} <= of_surface
    assert changes["surfaces.zarr/middle/dnn/loss"].grade == "different"


def test_a_changed_history_is_shown(reference, run):
    path = reference / "models" / "dnn" / "history.csv"
    header, first, *rest = path.read_text().splitlines()
    cells = first.split(",")
    cells[1] = repr(float(cells[1]) + 1)
    path.write_text("\n".join([header, ",".join(cells), *rest]) + "\n")
    seal(reference)
    update, _ = update_reference(run, reference=reference, confirm=lambda _: False)
    assert [(change.what, change.grade) for change in update.changes] == [
        ("models/dnn/history.csv/train_loss", "different")
    ]


@pytest.mark.parametrize("name", ["seed", "lm_first_epoch", "category", "reason"])
def test_every_field_of_a_minimum_counts(reference, run, name):
    stored = json.loads((reference / "models" / "dnn" / "minimum.json").read_text())
    other = {"seed": stored["seed"] + 1, "lm_first_epoch": 1, "category": "LM", "reason": "because"}[name]
    assert stored[name] != other
    forge_json(reference, "models/dnn/minimum.json", lambda document: document.update({name: other}))
    update, _ = update_reference(run, reference=reference, confirm=lambda _: False)
    assert [(change.what, change.grade) for change in update.changes] == [(f"models/dnn/{name}", "different")]


def test_yes_makes_the_run_the_reference_and_keeps_the_bands(changed, run):
    bands = (changed / "bands.json").read_bytes()
    _, accepted = update_reference(run, reference=changed, confirm=lambda _: True)
    assert accepted
    assert (changed / "bands.json").read_bytes() == bands
    assert check_manifest(changed) == []
    assert [path.name for path in changed.parent.iterdir()] == ["tiny"]
    verdict = tmrepro.verify(run, level="statistics", reference=changed)
    assert verdict.same_bits
    update, accepted = update_reference(run, reference=changed, confirm=never)
    assert (update.changes, accepted) == ((), False)


def test_bands_of_another_spec_go_and_that_is_said(reference, made):
    other = made / "runs" / "1"
    update, accepted = update_reference(other, reference=reference, confirm=lambda _: True)
    assert accepted
    assert update.changes[0].what == "spec"
    assert "seed" in update.changes[0].after
    assert any("bands" in remark and "tmrepro reference build" in remark for remark in update.remarks)
    assert not Reference(reference).bands.measured
    assert tmrepro.verify(other, level="statistics", reference=reference).grade == "identical"


def test_bands_stay_where_only_the_figures_are_to_be_drawn_otherwise(reference, run):
    text = (reference / "spec.yaml").read_text()
    assert "scale: auto" in text
    (reference / "spec.yaml").write_text(text.replace("scale: auto", "scale: linear"))
    seal(reference)
    bands = (reference / "bands.json").read_bytes()
    update, accepted = update_reference(run, reference=reference, confirm=lambda _: True)
    assert accepted
    assert [change.what for change in update.changes] == ["spec"]
    assert (reference / "bands.json").read_bytes() == bands


def test_statistics_outside_the_bands_that_stay_are_named(reference, run):
    def narrow(bands):
        bands["statistics"]["middle"]["dnn"]["loss_max"].update(low=1e6, high=2e6)

    forge_json(reference, "bands.json", narrow)
    forge_json(reference, "statistics.json", lambda statistics: statistics["middle"]["dnn"].update(loss_max=1.5e6))
    update, _ = update_reference(run, reference=reference, confirm=lambda _: False)
    assert any("1 statistics are outside" in remark and "middle/dnn/loss_max" in remark for remark in update.remarks)


@pytest.mark.parametrize("how", ["a flipped byte", "forged statistics", "a forged minimum"])
def test_run_that_contradicts_itself_is_refused(changed, run, tmp_path, how):
    forged = shutil.copytree(run, tmp_path / "forged")
    match how:
        case "a flipped byte":
            path = forged / "models" / "dnn" / "labels.npy"
            data = bytearray(path.read_bytes())
            data[-1] ^= 1
            path.write_bytes(data)
            code = 3
        case "forged statistics":
            forge_json(forged, "statistics.json", lambda statistics: statistics["middle"]["dnn"].update(loss_max=1.0))
            code = 1
        case "a forged minimum":
            forge_json(forged, "models/dnn/minimum.json", lambda document: document.update(relabelled_loss=0.0))
            code = 1
    before = contents(changed)
    update, accepted = update_reference(forged, reference=changed, confirm=never)
    assert not accepted
    assert update.refusal is not None
    assert update.verdict.exit_code == code
    assert contents(changed) == before


def test_damaged_reference_is_not_compared(changed, run):
    (changed / "spec.yaml").write_bytes(b"version: 1")
    update, accepted = update_reference(run, reference=changed, confirm=never)
    assert not accepted
    assert "spec.yaml" in (update.refusal or "")
    assert update.verdict.exit_code == 3


def test_reference_that_is_not_there_is_not_made(run, tmp_path):
    with pytest.raises(DamagedError, match="tmrepro reference build"):
        update_reference(run, reference=tmp_path / "nothing", confirm=never)
    assert list(tmp_path.iterdir()) == []


def test_spec_is_run_afresh_and_becomes_the_reference(changed, spec_file, run):
    update, accepted = update_reference(spec_file, reference=changed, confirm=lambda _: True)
    assert accepted
    assert update.verdict.subject == str(spec_file)
    assert not update.run.exists()
    assert tmrepro.verify(run, level="statistics", reference=changed).same_bits


def test_command_replaces_without_asking_where_told_to(changed, run):
    result = CliRunner().invoke(app, ["verify", str(run), "--reference", str(changed), "--update", "--yes", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["grade"] == "different"
    for words in ("middle/dnn/loss_max", "7.25", "Abacus", "its bands are kept", "replaced"):
        assert words in result.stderr
    assert Reference(changed).provenance["platform"]["processor"] != "Abacus"


def test_command_refuses_where_nobody_can_be_asked(changed, run):
    before = contents(changed)
    result = CliRunner().invoke(app, ["verify", str(run), "--reference", str(changed), "--update"])
    assert result.exit_code != 0
    assert "--yes" in str(result.exception)
    assert contents(changed) == before


@pytest.mark.parametrize(
    "options", [["--yes"], ["--update", "--yes", "--replicate"], ["--update", "--yes", "--level", "audit"]]
)
def test_options_that_contradict_each_other_are_refused(run, options):
    result = CliRunner().invoke(app, ["verify", str(run), *options])
    assert "--update" in str(result.exception)


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("", 1)])
def test_command_asks_on_a_terminal(changed, run, answer, code):
    before = contents(changed)
    command = [
        sys.executable,
        "-c",
        "from tmrepro.cli import main; main()",
        "verify",
        str(run),
        "--update",
        "--reference",
    ]
    ours, theirs = pty.openpty()
    with subprocess.Popen([*command, str(changed)], stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        while b"[y/N]" not in said:
            said += os.read(ours, 1024)
        os.write(ours, f"{answer}\n".encode())
        assert process.wait() == code
    os.close(ours)
    assert b"loss_max" in said
    assert (contents(changed) == before) == (code == 1)
