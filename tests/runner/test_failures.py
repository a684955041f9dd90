"""Networks that fail, and surfaces with holes: what is still computed, what is said, and how the run ends."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import tmrepro
from tests.support.recorder import Recorder
from tests.support.specs import write_spec
from tmrepro.errors import CollapsedError, ComputeError, DivergedError, UsageError
from tmrepro.store.documents import load_history
from tmrepro.store.minima import minimum_schema
from tmrepro.store.surfaces import read_surface

HEAD = """
version: 1
name: failing
data: {name: digits, train: 60, validation: 20, size: 8}
compute: {threads: 1}
surfaces: [{name: one, grid: {K: 3, step: 0.5}, chunk: 2}]
"""
CONSTANT = '{name: constant, kind: custom, factory: "tiny_networks:Constant"}'
GOOD = "{name: good, kind: dnn, widths: [8, 10]}"


def failing(folder: Path, *models: str, training: str = "max_epochs: 2") -> Path:
    """Write a spec with these networks."""
    return write_spec(
        folder, f"{HEAD}training: {{batch_size: 20, warmup_steps: 2, {training}}}\nmodels: [{', '.join(models)}]\n"
    )


@pytest.mark.slow
def test_collapsed_network_ends_the_run_with_4_and_the_others_are_finished(tmp_path, start):
    run = tmp_path / "run"
    spec = failing(tmp_path, CONSTANT, GOOD, training="max_epochs: 2, reseeds: 1")
    command = start("run", spec, "--out", run)
    assert command.wait() == 4
    assert "constant collapsed to a constant predictor with every seed tried (0, 1000000)" in command.err
    assert "report.html" in command.err
    assert "Traceback" not in command.err
    minimum = json.loads((run / "models/constant/minimum.json").read_text())
    jsonschema.validate(minimum, minimum_schema())
    assert (minimum["category"], minimum["seeds_collapsed"]) == ("collapsed", [0, 1000000])
    assert read_surface(run, "one", "good")[0].loss.shape == (3, 3)
    assert not (run / "surfaces.zarr/one/constant").exists()
    assert set(json.loads((run / "statistics.json").read_text())["one"]) == {"good"}
    assert not (run / "manifest-sha256.txt").exists()
    assert "constant collapsed" in (run / "report.html").read_text()
    again = start("run", spec, "--out", run)
    assert again.wait() == 4
    assert "training/constant: done" in again.err
    assert "surface/one/good: done" in again.err


def test_run_of_nothing_but_a_collapsed_network_ends_with_4_too(tmp_path):
    with pytest.raises(CollapsedError, match="the run is not complete"):
        tmrepro.run(failing(tmp_path, CONSTANT, training="max_epochs: 2, reseeds: 0"), out=tmp_path / "run")
    assert json.loads((tmp_path / "run/statistics.json").read_text()) == {}
    assert not (tmp_path / "run/manifest-sha256.txt").exists()


@pytest.mark.slow
def test_diverged_network_ends_the_run_with_4_and_the_others_are_finished(tmp_path, start):
    run = tmp_path / "run"
    wild = "{name: wild, kind: dnn, widths: [8, 10], training: {optimizer: {name: sgd, lr: 1.0e+30}}}"
    spec = failing(tmp_path, wild, GOOD)
    command = start("run", spec, "--out", run)
    assert command.wait() == 4
    assert "wild: the training loss became" in command.err or "wild: the parameters" in command.err
    assert "lower optimizer.lr" in command.err
    assert "Traceback" not in command.err
    assert not (run / "models/wild/minimum.json").exists()
    assert read_surface(run, "one", "good")[0].loss.shape == (3, 3)
    assert not (run / "manifest-sha256.txt").exists()
    recorder = Recorder()
    with pytest.raises(DivergedError, match="wild"):
        tmrepro.run(spec, out=run, reporter=recorder)
    assert "surface/one/good" in recorder.names("done")


@pytest.mark.slow
def test_all_networks_that_failed_are_named(tmp_path):
    wild = "{name: wild, kind: dnn, widths: [8, 10], training: {optimizer: {name: sgd, lr: 1.0e+30}}}"
    with pytest.raises(ComputeError) as failed:
        tmrepro.run(failing(tmp_path, wild, CONSTANT, training="max_epochs: 1, reseeds: 0"), out=tmp_path / "run")
    assert type(failed.value) is ComputeError
    assert "wild:" in str(failed.value)
    assert "constant collapsed" in str(failed.value)


def test_network_of_a_users_own_that_fails_is_not_a_bug_of_ours(tmp_path):
    bad = '{name: bad, kind: custom, factory: "tiny_networks:FailsInTraining"}'
    with pytest.raises(
        ComputeError, match=r"training bad: .*tiny_networks:FailsInTraining failed: KeyError: 'no such layer'"
    ):
        tmrepro.run(failing(tmp_path, bad), out=tmp_path / "run")


@pytest.mark.parametrize(
    "model",
    [
        '{name: bad, kind: custom, factory: "tiny_networks:nothing"}',
        '{name: bad, kind: custom, factory: "no_such_module:network"}',
        '{name: bad, kind: custom, factory: "tiny_networks:with_batch_norm"}',
    ],
)
def test_network_that_cannot_be_built_is_refused_before_the_first_is_trained(tmp_path, model):
    recorder = Recorder()
    with pytest.raises(UsageError, match="factory"):
        tmrepro.run(failing(tmp_path, GOOD, model), out=tmp_path / "run", reporter=recorder)
    assert recorder.stages == {}
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("in_a_closure", "model 'bad': its forward uses the parameters of your module"),
        ("LessMean", "model 'bad': its output for an input depends on the other inputs"),
        ("Counting", "model 'bad': its attribute 'calls' changes with every call"),
    ],
)
def test_network_that_is_no_function_of_an_image_is_refused_before_the_first_is_trained(tmp_path, factory, words):
    bad = f'{{name: bad, kind: custom, factory: "tiny_networks:{factory}"}}'
    recorder = Recorder()
    with pytest.raises(UsageError, match=words):
        tmrepro.run(failing(tmp_path, GOOD, bad), out=tmp_path / "run", reporter=recorder)
    assert recorder.stages == {}
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_network_that_changes_its_weights_is_evaluated_plainly(tmp_path):
    clamping = '{name: clamping, kind: custom, factory: "tiny_networks:Clamping"}'
    run = tmrepro.run(failing(tmp_path, clamping), out=tmp_path / "run").run
    facts = json.loads((run / "provenance.json").read_text())["stages"]["surface/one/clamping"]["facts"]
    assert facts["evaluator"] == "plain"
    assert facts["evaluator_reason"].startswith("only plain can be used: the network changes its parameter")


@pytest.mark.slow
def test_losses_that_are_not_finite_are_results(tmp_path):
    """Stored as they are, counted, drawn as gaps; the run is whole, and of the point itself minimum.json says null."""
    cliff = '{name: cliff, kind: custom, factory: "tiny_networks:Cliff"}'
    run = tmrepro.run(failing(tmp_path, cliff), out=tmp_path / "run").run
    loss = read_surface(run, "one", "cliff")[0].loss
    assert np.isfinite(loss[0, 0])
    holes = int((~np.isfinite(loss)).sum())
    assert 0 < holes < 9
    statistics = json.loads((run / "statistics.json").read_text())["one"]["cliff"]
    assert statistics["non_finite"] == holes
    assert (run / "figures/one.png").exists()
    assert (run / "manifest-sha256.txt").exists()


@pytest.mark.slow
def test_validation_loss_that_is_not_finite_is_null_in_json_and_stops_nothing(tmp_path):
    """The gate opens in eval mode for all images of which the network has not seen the like."""
    blind = '{name: blind, kind: custom, factory: "tiny_networks:Blind"}'
    run = tmrepro.run(failing(tmp_path, blind), out=tmp_path / "run").run
    history = load_history(run / "models/blind/history.csv")
    assert not np.isfinite(history.validation_losses).any()
    assert np.isfinite(history.train_losses).all()
    minimum = json.loads((run / "models/blind/minimum.json").read_text())
    jsonschema.validate(minimum, minimum_schema())
    assert minimum["validation_loss"] is None
    assert minimum["train_loss_at_minimum"] is not None
    assert (run / "figures/training.curves.png").exists()
    assert (run / "report.html").exists()


@pytest.mark.slow
def test_replicates_are_called_after_what_they_replicate(tmp_path):
    text = f"{HEAD}training: {{batch_size: 20, max_epochs: 2, seed: 5}}\nmodels: [{GOOD}]\n"
    text += "replicates: {training: 2, directions: 2}\n"
    view = tmrepro.open_run(tmrepro.run(write_spec(tmp_path, text), out=tmp_path / "run").run)
    assert view.models == ("good", "good.r1")
    assert view.surfaces == (("one", "good"), ("one", "good.r1"), ("one.d1", "good"), ("one.d1", "good.r1"))
    assert (view.minimum("good").seed, view.minimum("good.r1").seed) == (5, 6)
    seeds = {name: read_surface(view.folder, name, "good")[1] for name in ("one", "one.d1")}
    assert [(facts.delta.seed, facts.eta.seed) for facts in seeds.values()] == [(1, 2), (1001, 1002)]
    assert (view.folder / "figures/one.replicates.png").exists()
    assert set(view.statistics) == {"one", "one.d1"}
