"""Replicates that collapse or diverge: recorded, without a surface, and the run is whole; it verifies, and claims count them."""

from __future__ import annotations

import json
import shutil

import jsonschema
import pytest

import tmrepro
from tests.support.recorder import Recorder
from tests.support.runs import seal, untimed
from tests.support.specs import write_spec
from tmrepro.claims import judge_folders, load_claims
from tmrepro.cli.display import closing_table
from tmrepro.errors import DivergedError, UsageError
from tmrepro.spec import load_spec
from tmrepro.store.documents import load_history
from tmrepro.store.minima import minimum_schema
from tmrepro.verification.bands import Replicate
from tmrepro.verification.reference import write_reference

# As the paper calls its networks, so that its claims are judged.
SPEC = """
version: 1
name: failing
data: {name: digits, train: 60, validation: 20, size: 8}
compute: {threads: 1}
surfaces: [{name: one, grid: {K: 3, step: 0.5}, chunk: 2}]
training: {batch_size: 20, warmup_steps: 0, max_epochs: 4, optimizer: {name: adam, lr: 0.05}, reseeds: 1}
replicates: {training: 3}
models:
  - {name: resnet50, kind: dnn, widths: [8, 10]}
  - {name: dnn, kind: custom, factory: "tiny_networks:DeadUnlessFirst"}
  - {name: cnn, kind: custom, factory: "tiny_networks:FragileUnlessFirst"}
"""
FAILED = {"dnn.r1": "collapsed", "dnn.r2": "collapsed", "cnn.r1": "diverged", "cnn.r2": "diverged"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return write_spec(tmp_path_factory.mktemp("spec"), SPEC)


@pytest.fixture(scope="module")
def finished(spec, tmp_path_factory):
    out = tmp_path_factory.mktemp("failed") / "run"
    return tmrepro.run(spec, out=out)


def test_the_run_is_whole_and_says_which_replicates_failed(spec, finished, start, tmp_path):
    command = start("run", spec, "--out", tmp_path / "run")
    assert command.wait() == 0
    assert "dnn.r1 collapsed to a constant predictor with every seed tried (1, 1000001)" in command.err
    assert "cnn.r2 diverged, so it has no surface: the training loss became nan" in command.err
    assert (tmp_path / "run/manifest-sha256.txt").read_bytes().count(b"\n") == (
        (finished.run / "manifest-sha256.txt").read_bytes().count(b"\n")
    )
    page = (finished.run / "report.html").read_text(encoding="utf-8")
    assert "dnn.r2 collapsed, and has no surface" in page
    assert "cnn.r1 diverged, and has no surface" in page


def test_what_failed_is_recorded_and_has_no_surface(finished):
    run = finished.run
    for name, category in FAILED.items():
        document = json.loads((run / f"models/{name}/minimum.json").read_text())
        jsonschema.validate(document, minimum_schema())
        assert document["category"] == category
        assert not (run / f"surfaces.zarr/one/{name}").exists()
        assert (run / f"models/{name}/theta.safetensors").exists() == (category == "collapsed")
    assert set(finished.statistics["one"]) == {"resnet50", "resnet50.r1", "resnet50.r2", "dnn", "cnn"}
    diverged = finished.minima["cnn.r1"]
    history = load_history(run / "models/cnn.r1/history.csv")
    assert diverged.epochs == len(history.epochs) >= 1  # it went well for a while
    assert (diverged.stopped, diverged.seed, diverged.theta_norm) == ("diverged", 1, None)
    assert diverged.train_loss_last == history.epochs[-1].train_loss
    assert f"in epoch {diverged.epochs + 1} (seed 1)" in diverged.reason


def test_a_divergence_that_is_met_after_a_checkpoint_is_recorded_all_the_same(spec, finished, start, tmp_path):
    out = tmp_path / "run"
    first = start("run", spec, "--out", out, "--only", "cnn.r1", blow=(r"_replace .*models/cnn\.r1/history\.csv", 1, 9))
    first.wait()
    assert [path.name for path in (out / ".work/checkpoints").iterdir()]
    second = start("run", spec, "--out", out)
    assert second.wait() == 0, second.err
    assert untimed(out) == untimed(finished.run)


def test_the_same_command_finds_it_complete(spec, finished):
    recorder = Recorder()
    again = tmrepro.run(spec, out=finished.run, reporter=recorder)
    assert again.already_complete
    assert again.minima == finished.minima
    closing_table(again.run, minima=again.minima, statistics=again.statistics, claims=again.claims)


def test_a_view_gives_what_there_is(finished):
    view = tmrepro.open_run(finished.run, trust_code=True)
    assert ("one", "cnn") in view.surfaces
    assert ("one", "cnn.r1") not in view.surfaces
    with pytest.raises(UsageError, match=r"cnn\.r1 diverged in training, so it has no theta"):
        view.model("cnn.r1")


@pytest.mark.parametrize("level", ["integrity", "audit"])
def test_it_verifies(finished, level):
    verdict = tmrepro.verify(finished.run, level=level, trust_code=True)
    assert [check for check in verdict.checks if not check.passed] == []
    if level == "audit":
        (said,) = [check.detail for check in verdict.checks if check.subject == "models/cnn.r1"]
        assert "only level rerun can check" in said
        assert any(check.subject == "claims.json" and check.grade == "identical" for check in verdict.checks)


def test_it_verifies_when_it_is_run_again(finished):
    verdict = tmrepro.verify(finished.run, level="rerun", trust_code=True)
    assert [check for check in verdict.checks if not check.passed] == []


def test_its_reference_verifies_and_its_bands_count_what_failed(finished, tmp_path):
    replicates = [Replicate(finished.statistics, finished.minima)] * 3
    bands = write_reference(finished.run, to=tmp_path / "reference", replicates=replicates)
    assert bands.categories["dnn.r1"] == {"collapsed": 3}
    assert bands.categories["cnn.r1"] == {"diverged": 3}
    verdict = tmrepro.verify(tmp_path / "reference")
    assert [check for check in verdict.checks if not check.passed] == []
    held = tmrepro.verify(finished.run, level="statistics", reference=tmp_path / "reference")
    assert [check for check in held.checks if not check.passed] == []


def test_bands_of_replicates_of_which_one_has_no_surface(finished):
    from tmrepro.verification.bands import measure_bands

    fewer = {"one": {name: values for name, values in finished.statistics["one"].items() if name != "resnet50.r1"}}
    replicates = [Replicate(statistics, finished.minima) for statistics in (fewer, finished.statistics)]
    bands = measure_bands(replicates, points={"one": 3}, images=(60, 20))
    assert bands.n == 2
    assert "resnet50.r1" not in bands.statistics.get("one", {})


def test_a_replicate_cannot_be_called_failed_to_be_rid_of_its_surface(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished.run, run)
    path = run / "models/resnet50.r1/minimum.json"
    path.write_text(
        path.read_text()
        .replace('"category": "GM"', '"category": "collapsed"')
        .replace('"TM"', '"collapsed"')
        .replace('"category": "none"', '"category": "collapsed"')
        .replace('"LM"', '"collapsed"')
    )
    assert json.loads(path.read_text())["category"] == "collapsed"
    shutil.rmtree(run / "surfaces.zarr/one/resnet50.r1")
    seal(run)
    verdict = tmrepro.verify(run, level="audit", trust_code=True)
    assert verdict.exit_code != 0


def test_claims_count_them_as_never_reached(finished):
    judged = judge_folders([finished.run])
    assert judged.text() == (finished.run / "claims.json").read_text(encoding="utf-8")
    lines = {line.id: line for line in judged.settings["one"]}
    reached = lines["C4.epochs.cnn"].values
    assert {
        network: [seed for seed, value in values.items() if value is None] for network, values in reached.items()
    } == {
        "dnn": [
            seed
            for seed in ("0", "1", "2")
            if finished.minima[f"dnn{'.r' + seed if seed != '0' else ''}"].lm_first_epoch is None or seed != "0"
        ],
        "cnn": [
            seed
            for seed in ("0", "1", "2")
            if finished.minima[f"cnn{'.r' + seed if seed != '0' else ''}"].lm_first_epoch is None or seed != "0"
        ],
    }
    assert lines["C1.roughness"].left_out["dnn"] == {"1": "collapsed", "2": "collapsed"}
    assert len(judged.settings["one"]) == len(load_claims().lines)


def test_a_first_network_takes_over_no_failure_of_a_replicate(finished, spec, tmp_path):
    alone = load_spec(spec)
    training = alone.models[2].training.model_copy(update={"seed": 1})
    model = alone.models[2].model_copy(update={"training": training})
    alone = alone.model_copy(
        update={
            "models": (model,),
            "replicates": alone.replicates.model_copy(update={"training": 1}),
            "surfaces": (alone.surfaces[0].model_copy(update={"models": ("cnn",)}),),
        }
    )
    with pytest.raises(DivergedError, match="training loss became nan"):
        tmrepro.run(alone, out=tmp_path / "alone", reuse=finished.run)
    assert not (tmp_path / "alone/manifest-sha256.txt").exists()


def test_verdicts_that_the_values_do_not_give_are_found(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished.run, run)
    path = run / "claims.json"
    path.write_text(path.read_text().replace('"inconclusive"', '"reproduced"', 1))
    seal(run)
    verdict = tmrepro.verify(run, level="statistics", trust_code=True)
    assert [(check.subject, check.grade) for check in verdict.checks if not check.passed] == [
        ("claims.json", "different")
    ]
