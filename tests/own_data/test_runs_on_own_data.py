"""From a spec of one's own data to a verified folder; what doesn't fit is refused with its line before anything is trained."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import tmrepro
from tests.own_data.conftest import small_classes, write_project
from tmrepro.data import place_of
from tmrepro.errors import DamagedError, DataError, SpecError, UsageError
from tmrepro.spec import load_spec
from tmrepro.store.signatures import recorded_signature
from tmrepro.usercode import importable_from

CUSTOM = ("{name: arrays, file: own.npz}", '{name: custom, factory: "MODULE:classes"}')
NUMBERS = (("training: {", "training: {loss: mse, "), ("outputs: 3", "outputs: 2"))


def verified(run: Path, spec: Path, **how):
    with importable_from(spec.parent):
        return tmrepro.verify(run, trust_code=True, **how)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A spec with classes in a file, and a run of it beside; nobody may change them."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TMREPRO_DATA", raising=False)
        spec = write_project(folder, data=small_classes())
        tmrepro.run(spec, out=folder / "run")
    return spec


@pytest.fixture
def copied(finished, tmp_path, monkeypatch):
    monkeypatch.delenv("TMREPRO_DATA", raising=False)
    shutil.copytree(finished.parent, tmp_path / "copy")
    return tmp_path / "copy" / finished.name


def test_classes_in_a_file_are_run_and_audited(copied):
    run = copied.parent / "run"
    verdict = verified(run, copied, share=1.0)
    assert verdict.grade == "identical", verdict
    view = tmrepro.open_run(run)
    assert view.minimum("mlp").labels == "hard"
    with np.load(copied.parent / "own.npz") as arrays:
        np.testing.assert_array_equal(view.inputs().numpy(), arrays["train_inputs"].astype(np.float32))
        np.testing.assert_array_equal(view.original_labels().numpy(), arrays["train_targets"])


def test_numbers_in_a_file_are_run_and_audited_and_have_no_accuracy(project, tmp_path, numbers):
    spec = project(*NUMBERS, data=numbers)
    result = tmrepro.run(spec, out=tmp_path / "run")
    minimum = result.minima["mlp"]
    assert (minimum.labels, minimum.relabelled_loss, minimum.validation_accuracy) == ("outputs", 0.0, None)
    assert verified(result.run, spec, share=1.0).grade == "identical"
    surface = tmrepro.open_run(result.run).surface("one", "mlp")
    assert np.isnan(surface.accuracy).all()
    assert surface.attrs["error_over_bound"] <= 1
    page = (result.run / "report.html").read_text(encoding="utf-8")
    assert "Ṽ is zero by construction" in page
    assert "nats" not in page.split('<section id="spec">')[0]
    assert tmrepro.open_run(result.run).labels("mlp").shape == (60, 2)


def test_the_surface_is_the_mean_squared_error_at_each_point(project, tmp_path, numbers):
    """Against the definition, written down again in float64."""
    spec = project(*NUMBERS, data=numbers)
    run = tmrepro.run(spec, out=tmp_path / "run").run
    with importable_from(spec.parent):
        view = tmrepro.open_run(run, trust_code=True)
        model = view.model("mlp").double()
        delta, eta = view.directions("one", "mlp")
    surface, inputs, labels = view.surface("one", "mlp"), view.inputs().double(), view.labels("mlp").double()
    theta = {name: value.clone() for name, value in model.state_dict().items()}
    for a in surface.a.values:
        for b in surface.b.values:
            model.load_state_dict({name: theta[name] + a * delta[name] + b * eta[name] for name in theta})
            with torch.no_grad():
                expected = float((model(inputs) - labels).square().mean())
            assert float(surface.loss.sel(a=a, b=b)) == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_curvature_directions_and_paths_take_numbers(project, tmp_path, numbers):
    spec = project(
        *NUMBERS,
        ("max_epochs: 3", "max_epochs: 3, trajectory: {every: 1, weights: true}"),
        ("grid: {K: 3, step: 0.5}", "directions: {kind: hessian}, grid: {K: 3, step: 0.5}"),
        data=numbers,
    )
    run = tmrepro.run(spec, out=tmp_path / "run").run
    with importable_from(spec.parent):
        documents, _ = tmrepro.api.measure_curvature(run, probes=2, density_probes=1, trust_code=True)
    assert np.isfinite(documents["mlp"].eigenvalues).all()
    assert verified(run, spec).grade == "identical"


def test_the_finished_run_looks_at_its_data(copied, classes):
    run = copied.parent / "run"
    again = tmrepro.run(copied, out=run)
    assert (again.already_complete, again.notes) == (True, ())
    np.savez(copied.parent / "own.npz", **classes | {"train_inputs": classes["train_inputs"] + 1})
    with pytest.raises(UsageError, match=r"holds a finished run on other data \(data.fingerprint"):
        tmrepro.run(copied, out=run)
    with pytest.raises(DamagedError, match="the data are not those of the run"):
        tmrepro.open_run(run).inputs()
    (copied.parent / "own.npz").unlink()
    assert "the data were not checked" in tmrepro.run(copied, out=run).notes[0]


def test_changed_code_of_the_data_is_noticed_everywhere(project, tmp_path):
    spec = project(CUSTOM)
    run = tmrepro.run(spec, out=tmp_path / "run").run
    module = next(spec.parent.glob("own_code_*.py"))
    stage = json.loads((run / "provenance.json").read_text())["stages"]["training/mlp"]
    assert list(stage["inputs"]["data"]["code"]["files"]) == [module.name]
    with pytest.raises(UsageError, match=r"the data need the code of own_code_\d+:classes, .*--trust-code"):
        tmrepro.verify(run)
    with pytest.raises(UsageError, match="trust_code=True"):
        tmrepro.open_run(run).inputs()
    assert verified(run, spec).grade == "identical"
    text = module.read_text(encoding="utf-8")
    module.write_text(f"{text}\nUNUSED = 1\n", encoding="utf-8")
    with pytest.raises(SpecError, match=rf"data.factory: code: {module.name} was changed after this Python loaded it"):
        tmrepro.run(spec, out=tmp_path / "other")
    del sys.modules[module.stem]  # as if Python had been started again
    with pytest.raises(UsageError, match=rf"finished run with other code of its data: {module.name} differs"):
        tmrepro.run(spec, out=run)
    verdict = verified(run, spec)
    assert verdict.grade == "different"
    assert any(check.subject == "code" and module.name in check.detail for check in verdict.checks)
    module.unlink()
    del sys.modules[module.stem]
    assert "the data were not checked: " in tmrepro.run(spec, out=run).notes[0]


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ((("batch_size", "loss: mse, batch_size"),), "classes",
         "own.yaml:6:12: training.loss: must be sparse_cross_entropy (got mse)"),
        ((), "numbers", "own.yaml:6:1: training.loss: must be mse (got sparse_cross_entropy): the targets are numbers"),
        ((("kind: custom", "kind: dnn, widths: [3]"), (', factory: "MODULE:network", arguments: {outputs: 3}', "")), "classes",
         "own.yaml:5:17: models[0].kind: dnn takes pictures, float [3, size, size]"),
        ((("step: 0.5}", "step: 0.5}, samples: 61"),), "classes", "own.yaml:7:49: surfaces[0].samples: must be at most 60"),
        ((("file: own.npz", "file: own.yaml"),), "classes", None),
        ((CUSTOM, (":classes", ":nothing")), "classes", "own.yaml:3:22: data.factory: factory 'own_code_"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_line(project, tmp_path, classes, numbers, changes, kind, said):
    spec = project(*changes, data=numbers if kind == "numbers" else classes)
    with pytest.raises(DataError if said is None else SpecError) as found:
        tmrepro.run(spec, out=tmp_path / "run")
    assert "\n" not in str(found.value)
    assert said is None or said in str(found.value)
    assert not (tmp_path / "run" / "spec.yaml").exists()


def test_pictures_of_ones_own_go_into_the_papers_networks(project, tmp_path, classes):
    pictures = {
        name: classes[name.replace("inputs", "targets")][:, None, None, None] * np.ones((3, 8, 8)) - 1
        if "inputs" in name
        else value
        for name, value in classes.items()
    }
    text = ', factory: "MODULE:network", arguments: {outputs: 3}'
    spec = project(("kind: custom", "kind: dnn, widths: [8, 3]"), (text, ""), data=pictures)
    run = tmrepro.run(spec, out=tmp_path / "run").run
    view = tmrepro.open_run(run)
    assert view.model("mlp")(view.inputs()).shape == (60, 3)


def test_files_are_found_by_the_option_the_variable_the_spec_and_what_the_run_recorded(copied, tmp_path, monkeypatch):
    run, other, hidden = copied.parent / "run", tmp_path / "elsewhere", tmp_path / "hidden.npz"
    other.mkdir()
    shutil.copy(copied.parent / "own.npz", other)
    monkeypatch.chdir(tmp_path)
    section = load_spec(copied).data
    assert json.loads((run / "provenance.json").read_text())["data"]["home"] == ".."
    assert tmrepro.open_run(run).inputs().shape == (60, 4)
    assert place_of(section, data_dir=None, home=copied.parent) == copied.parent
    assert place_of(section, data_dir=other, home=copied.parent) == other
    monkeypatch.setenv("TMREPRO_DATA", str(other))
    assert place_of(section, data_dir=None, home=copied.parent) == other
    monkeypatch.setenv("TMREPRO_DATA", str(tmp_path))  # meant for other data, it doesn't hide the spec's file
    assert place_of(section, data_dir=None, home=copied.parent) == copied.parent
    shutil.move(copied.parent / "own.npz", hidden)
    with pytest.raises(DataError, match=r"pass --data-dir DIR, the folder of 'own\.npz'"):
        tmrepro.open_run(run).inputs()
    assert tmrepro.open_run(run, data_dir=other).inputs().shape == (60, 4)
    with pytest.raises(DataError, match="No such file"):
        tmrepro.run(copied, out=tmp_path / "third", data_dir=tmp_path)
    monkeypatch.chdir(other)
    assert tmrepro.open_run(run).inputs().shape == (60, 4)


def test_a_home_that_somebody_wrote_is_only_a_place_to_look(copied):
    run = copied.parent / "run"
    document = json.loads((run / "provenance.json").read_text())
    for home in ("../nowhere", "a\0b", "", 7, "x" * 5000, None):
        document["data"]["home"] = home
        (run / "provenance.json").write_text(json.dumps(document))
        with pytest.raises(DataError, match="--data-dir"):
            tmrepro.open_run(run).inputs()


@pytest.mark.parametrize(
    "signature",
    [None, {}, [], {"shape": [4]}, {"shape": [2**40], "dtype": "float32"}, {"shape": [-1], "dtype": "float32"},
     {"shape": [4], "dtype": "complex64"}, {"shape": [4], "dtype": "int64", "least": 5, "largest": 4},
     {"shape": [4], "dtype": "int64", "least": 0, "largest": 2**70}, {"shape": ["4"], "dtype": "float32"}],
)  # fmt: skip
def test_shapes_that_no_data_have_are_damage(project, signature):
    spec = load_spec(project())
    whole = {"least": 0, "largest": 0, "classes": 3, "numbers": []}
    given = {**whole, **signature} if isinstance(signature, dict) and len(signature) > 1 else signature
    with pytest.raises(DamagedError, match=r"provenance\.json: expected"):
        recorded_signature({"data": {"signature": given}}, spec)
