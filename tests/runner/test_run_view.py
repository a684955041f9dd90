"""`open_run`: every member of it, against the files of the run and against numpy alone."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
import torch

import tmrepro
from tmrepro.errors import DamagedError, UsageError
from tmrepro.runner.view import RunView


@pytest.fixture
def view(finished) -> RunView:
    return tmrepro.open_run(finished, trust_code=True)


def test_documents_are_those_of_the_folder(view, finished, spec):
    assert view.spec == tmrepro.load_spec(spec)
    assert view.class_names == tuple("0123456789")
    with pytest.warns(DeprecationWarning, match="class_names"):
        assert view.labels_of_classes == view.class_names
    assert view.provenance == json.loads((finished / "provenance.json").read_text())
    assert view.statistics == json.loads((finished / "statistics.json").read_text())
    assert view.models == ("dnn", "cnn", "norm")
    assert view.surfaces == (("one", "dnn"), ("one", "cnn"), ("one", "norm"))
    assert [epoch.epoch for epoch in view.history("cnn").epochs] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("name", ["dnn", "cnn", "norm"])
def test_model_gives_the_labels_and_the_surface_at_theta_star(view, name):
    model, inputs = view.model(name), view.inputs()
    assert not model.training
    assert inputs.shape == (60, 3, 8, 8)
    assert inputs.dtype == torch.float32
    with torch.no_grad():
        logits = model(inputs).double().numpy()
    labels = view.labels(name).numpy()
    assert np.array_equal(logits.argmax(1), labels)
    shifted = logits - logits.max(1, keepdims=True)
    loss = np.mean(np.log(np.exp(shifted).sum(1)) - shifted[np.arange(60), labels])
    surface = view.surface("one", name)
    # Another order of float32 sums in another batch; nothing else differs.
    assert float(surface.loss.sel(a=0, b=0)) == pytest.approx(loss, rel=1e-6)
    assert float(surface.accuracy.sel(a=0, b=0)) == 1.0
    assert surface.attrs["home"] == [0, 0]


def test_directions_lead_to_the_points_of_the_surface(view):
    delta, eta = view.directions("one", "norm")
    model = view.model("norm")
    assert list(delta) == list(eta) == [name for name, _ in model.named_parameters()]
    assert float(sum((part.double() ** 2).sum() for part in delta.values())) == pytest.approx(1, abs=1e-6)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value += 1.5 * delta[name] + 0.5 * eta[name]  # i = 3, j = 1: not the same with the axes swapped
        logits = model(view.inputs()).double()
    loss = torch.nn.functional.cross_entropy(logits, view.labels("norm"))
    assert float(view.surface("one", "norm").loss[3, 1]) == pytest.approx(float(loss), rel=1e-5)
    assert float(view.surface("one", "norm").loss[1, 3]) != pytest.approx(float(loss), rel=1e-5)


def test_inputs_are_what_the_models_see(view):
    inputs = view.inputs().double()
    # Standardized by this very part, channel by channel.
    assert torch.allclose(inputs.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(inputs.var((0, 2, 3), correction=0).sqrt(), torch.ones(3, dtype=torch.float64), atol=1e-5)


def test_code_that_the_spec_names_runs_only_where_it_is_trusted(finished):
    view = tmrepro.open_run(finished)
    assert view.labels("norm").shape == (60,)
    assert view.surface("one", "norm").loss.shape == (5, 5)
    for forbidden in (lambda: view.model("norm"), lambda: view.directions("one", "norm")):
        with pytest.raises(UsageError, match=r"tiny_networks:with_batch_norm.*--trust-code"):
            forbidden()
    assert view.model("dnn") is not None


def test_unknown_names_are_answered_with_the_known_ones(view):
    for wrong in (lambda: view.surface("two", "dnn"), lambda: view.surface("one", "x"), lambda: view.labels("x")):
        with pytest.raises(UsageError, match=r"it has (one|dnn, cnn, norm)"):
            wrong()


def test_folder_that_is_no_run(tmp_path):
    with pytest.raises(DamagedError, match="not a run folder"):
        tmrepro.open_run(tmp_path)


def test_theta_of_another_model_is_damage(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    shutil.copy(run / "models/cnn/theta.safetensors", run / "models/dnn/theta.safetensors")
    with pytest.raises(DamagedError, match=r"models/dnn/theta\.safetensors"):
        tmrepro.open_run(run).model("dnn")
    stored = safetensors.numpy.load_file(finished / "models/cnn/theta.safetensors")
    assert tmrepro.open_run(run).model("cnn").state_dict().keys() == stored.keys()


def test_opening_and_reading_changes_nothing(view, finished):
    before = {path: path.stat().st_mtime_ns for path in [finished, *finished.rglob("*")]}
    view.inputs()
    view.model("dnn")
    view.surface("one", "dnn")
    assert {path: path.stat().st_mtime_ns for path in [finished, *finished.rglob("*")]} == before


@pytest.mark.parametrize("name", ["dnn", "cnn", "norm"])
def test_surfaces_have_labels_and_the_statistics_that_are_stored(view, name):
    surface = view.surface("one", name)
    assert tmrepro.surface_statistics(surface) == view.statistics["one"][name]
    assert {variable.attrs["units"] for variable in surface.variables.values()} == {"nats", "1"}
    assert surface.a.attrs["long_name"] == "a, distance along delta"
    assert surface.loss.attrs["long_name"] == "mean loss"
