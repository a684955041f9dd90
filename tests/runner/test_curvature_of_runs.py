"""`tmrepro curvature RUN`: what it writes, that it is idempotent, and that verification catches what was forged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tmrepro
from tests.support.runs import contents, forge_json, seal
from tmrepro.api import measure_curvature
from tmrepro.errors import DamagedError, UsageError
from tmrepro.runner import curvature as room
from tmrepro.runner import curvature_tasks
from tmrepro.store.curvature import read_curvature
from tmrepro.store.manifest import check_manifest
from tmrepro.store.surfaces import read_surface
from tmrepro.store.tensors import load_tensors, save_tensors

SPEC = """
version: 1
name: bent
data: {name: digits, train: 60, validation: 30, size: 8}
models:
  - {name: dnn, kind: dnn, widths: [8, 10]}
training: {batch_size: 20, max_epochs: 8, warmup_steps: 3, stop: {at: never}}
surfaces:
  - {name: corner, grid: {K: 3}}
  - {name: fine, grid: {K: 3, origin: center, step: 0.01}}
  - {name: filter, directions: {normalization: filter}, grid: {K: 3, origin: center, step: 0.1}}
compute: {threads: 1}
"""
# Two networks, and one surface: most of the time of such a run is that of its figures.
TWO = "".join(line for line in SPEC.splitlines(keepends=True) if "corner" not in line and "filter" not in line).replace(
    "training:", "  - {name: cnn, kind: cnn, channels: [4, 10]}\ntraining:"
)


def measured(spec: str, home: Path) -> Path:
    """A finished run of `spec` with the curvature of its networks, and in `plain` beside it the run without."""
    (home / "bent.yaml").write_text(spec)
    tmrepro.run(home / "bent.yaml", out=home / "plain")
    shutil.copytree(home / "plain", home / "run")
    _, there = measure_curvature(home / "run", top=3, probes=4, density_probes=1)
    assert not there
    return home / "run"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measured(SPEC, tmp_path_factory.mktemp("bent"))


@pytest.fixture(scope="module")
def made_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measured(TWO, tmp_path_factory.mktemp("two"))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def run_of_two(made_of_two: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made_of_two, tmp_path / "run"))


def change(run: Path, **values: Any) -> None:
    """Forge curvature.json of dnn, and the manifest that would tell."""
    forge_json(run, "models/dnn/curvature.json", lambda document: document.update(values))


def graded(run: Path, level: str) -> dict[str, str]:
    return {
        check.subject: check.grade for check in tmrepro.verify(run, level=level).checks if check.grade != "identical"
    }


def test_it_is_what_the_api_gives_of_theta_and_the_relabelled_data(made):
    view = tmrepro.open_run(made)
    document = read_curvature(made, "dnn")
    labels = view.labels("dnn")
    found = tmrepro.curvature_of(
        view.model("dnn"), "cross_entropy", view.inputs(), labels, top=3, probes=4, density_probes=1, threads=1
    )
    assert document.eigenvalues == tuple(found.eigenvalues)
    assert document.residuals == tuple(found.residuals)
    assert (document.trace, document.trace_error) == (found.trace, found.trace_error)
    assert document.density is not None
    assert document.density.values == tuple(found.density.values)
    assert (document.parameters, document.images) == (found.parameters, 60)
    assert load_tensors(made / "models/dnn/curvature.safetensors")["vectors"].tobytes() == found.vectors.tobytes()


def test_two_workers_give_the_same_bytes(made_of_two, tmp_path):
    run = Path(shutil.copytree(made_of_two.parent / "plain", tmp_path / "run"))
    with pytest.raises(UsageError, match="choose one of them"):
        measure_curvature(run, workers=2, scheduler="127.0.0.1:1")
    _, there = measure_curvature(run, top=3, probes=4, density_probes=1, workers=2)
    assert not there
    for path in ("models/dnn/curvature", "models/cnn/curvature"):
        for kind in ("json", "safetensors"):
            assert (run / f"{path}.{kind}").read_bytes() == (made_of_two / f"{path}.{kind}").read_bytes()
    assert (run / "figures/spectrum.png").read_bytes() == (made_of_two / "figures/spectrum.png").read_bytes()
    assert check_manifest(run) == []


def test_predicted_curvature_stands_beside_the_surfaces_own(made):
    document = read_curvature(made, "dnn")
    assert set(document.slices) == {"corner", "fine"}  # a filter-normalised direction has another length in each filter
    for name, begin, kind in (("corner", 0, "one-sided"), ("fine", 0, "central")):
        surface, _, home, step = read_surface(made, name, "dnn")
        along_a, along_b = surface.loss[:, home[1]], surface.loss[home[0]]
        held = document.slices[name]
        assert held.a == (along_a[begin] - 2 * along_a[begin + 1] + along_a[begin + 2]) / step / step
        assert held.b == (along_b[begin] - 2 * along_b[begin + 1] + along_b[begin + 2]) / step / step
        assert (held.difference, held.step, held.predicted) == (kind, step, document.trace / document.parameters)


def test_the_run_verifies_and_is_done_and_the_same_again_does_nothing(made_of_two):
    assert tmrepro.verify(made_of_two).exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in made_of_two.rglob("*")}
    found, there = measure_curvature(made_of_two, top=3, probes=4, density_probes=1)
    assert there
    assert set(found) == {"dnn", "cnn"}
    assert tmrepro.run(made_of_two.parent / "bent.yaml", out=made_of_two).already_complete
    assert {path: path.stat().st_mtime_ns for path in made_of_two.rglob("*")} == before
    names = {line.split("  ")[1] for line in (made_of_two / "manifest-sha256.txt").read_text().splitlines()}
    assert {"models/dnn/curvature.json", "models/cnn/curvature.safetensors", "figures/spectrum.pdf"} <= names


def test_other_settings_replace_it_and_only_what_was_asked(run_of_two):
    kept = (run_of_two / "models/cnn/curvature.json").read_bytes()
    found, there = measure_curvature(run_of_two, models=["dnn"], samples=20, probes=3, density_probes=0)
    assert not there
    assert (found["dnn"].images, found["dnn"].density, len(found["dnn"].eigenvalues)) == (20, None, 2)
    assert (run_of_two / "models/cnn/curvature.json").read_bytes() == kept
    assert not check_manifest(run_of_two)
    assert tmrepro.verify(run_of_two).exit_code == 0


@pytest.mark.parametrize(
    ("values", "level"),
    [
        ({"trace": 5.0}, "integrity"),
        ({"trace_samples": [1.0, 2.0]}, "integrity"),
        ({"mean_eigenvalue": 1.0}, "integrity"),
        ({"converged": [True] * 4}, "integrity"),
        ({"theta_sha256": "0" * 64}, "integrity"),
        ({"labels_sha256": "0" * 64}, "integrity"),
        ({"model": "cnn"}, "integrity"),
        ({"parameters": 5}, "integrity"),
        ({"density": {"grid": [0.0, 1.0], "values": [3.0, 3.0], "width": 0.1, "probes": 1}}, "integrity"),
        ({"slices": {}}, "statistics"),
        ({"eigenvalues": [900.0, 2.0, 1.0]}, "audit"),
        ({"residuals": [0.0, 0.0, 0.0], "scale": 1e9}, "audit"),
        ({"images": 59}, "audit"),
    ],
    ids=str,
)
def test_a_forged_document_is_caught(run, values, level):
    change(run, **values)
    if level != "integrity":  # the figure follows from the document
        shutil.rmtree(run / ".work", ignore_errors=True)
        view = tmrepro.open_run(run)
        room.draw_spectra(
            run, view.spec, folder=run / "figures", write=lambda path, data: path.write_bytes(data) and None
        )
        seal(run)
    wrong = graded(run, level)
    assert wrong.get("models/dnn/curvature.json") in {"damaged", "different"}, wrong
    assert not graded(run, "integrity") or level == "integrity"


def test_forged_samples_and_vectors_are_caught_by_an_audit(run):
    document = json.loads((run / "models/dnn/curvature.json").read_text())
    samples = [2 * sample for sample in document["trace_samples"]]
    slices = {name: held | {"predicted": 2 * held["predicted"]} for name, held in document["slices"].items()}
    twice = {name: 2 * document[name] for name in ("trace", "trace_error", "mean_eigenvalue")}
    change(run, **twice, trace_samples=samples, slices=slices)
    assert not graded(run, "integrity")
    assert graded(run, "audit")["models/dnn/curvature.json"] == "different"


def test_forged_vectors_are_caught_by_an_audit(run):
    path = run / "models/dnn/curvature.safetensors"
    vectors = load_tensors(path)["vectors"]
    save_tensors(path, {"vectors": np.roll(vectors, 1, axis=1)}, work=run.parent / "work")
    seal(run)
    assert not graded(run, "statistics")
    assert graded(run, "audit")["models/dnn/curvature.json"] == "different"


def test_a_missing_or_wrong_half_is_damage(run):
    vectors = run / "models/dnn/curvature.safetensors"
    kept = vectors.read_bytes()
    vectors.unlink()
    seal(run)
    assert graded(run, "integrity") == {"models/dnn/curvature.json": "damaged"}
    save_tensors(vectors, {"vectors": np.zeros((3, 7), np.float32)}, work=run.parent / "work")
    seal(run)
    assert graded(run, "integrity") == {"models/dnn/curvature.json": "damaged"}
    vectors.write_bytes(kept)
    (run / "models/dnn/curvature.json").unlink()
    seal(run)
    assert graded(run, "integrity") == {"models/dnn/curvature.safetensors": "damaged"}


def test_an_interruption_leaves_the_folder_as_it_was(made, monkeypatch):
    plain = made.parent / "plain"
    before = contents(plain)

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(curvature_tasks, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure_curvature(plain)
    assert contents(plain) == before


def test_a_run_that_is_repaired_keeps_what_still_holds(run_of_two):
    """A figure is damaged: the same command makes it again, and curvature stays; with other weights it would not."""
    run = run_of_two
    spec = run.parent / "bent.yaml"
    spec.write_text(TWO)
    (run / "figures/fine.png").write_bytes(b"")
    kept = (run / "models/dnn/curvature.json").read_bytes()
    tmrepro.run(spec, out=run)
    assert (run / "models/dnn/curvature.json").read_bytes() == kept
    assert tmrepro.verify(run).exit_code == 0
    change(run, theta_sha256="0" * 64)
    (run / "figures/fine.png").write_bytes(b"")
    tmrepro.run(spec, out=run)
    assert not (run / "models/dnn/curvature.json").exists()
    assert (run / "models/cnn/curvature.json").exists()
    assert tmrepro.verify(run).exit_code == 0


def test_a_reference_keeps_the_numbers_without_the_vectors(run, tmp_path):
    from tmrepro.verification.bands import Replicate
    from tmrepro.verification.reference import write_reference

    view = tmrepro.open_run(run)
    minima = {name: view.minimum(name) for name in view.models}
    write_reference(run, to=tmp_path / "reference", replicates=[Replicate(view.statistics, minima)])
    assert (tmp_path / "reference/models/dnn/curvature.json").exists()
    assert not list((tmp_path / "reference").rglob("*.safetensors"))
    assert tmrepro.verify(tmp_path / "reference").exit_code == 0
    assert tmrepro.verify(run, level="statistics", reference=tmp_path / "reference").exit_code == 0


def test_what_cannot_be_asked_is_refused(made, tmp_path):
    for asked, words in (
        ({"models": ["rnn"]}, "--models rnn: this run has dnn"),
        ({"samples": 61}, "at most 60"),
        ({"top": 0}, "top"),
        ({"top": 10**6}, "top"),
        ({"seed": 2**63}, "seed"),
    ):
        with pytest.raises(UsageError, match=words):
            measure_curvature(made, **asked)
    with pytest.raises(DamagedError, match="not a run folder"):
        measure_curvature(tmp_path)
    unfinished = shutil.copytree(made, tmp_path / "unfinished")
    (unfinished / "manifest-sha256.txt").unlink()
    with pytest.raises(DamagedError, match="manifest"):
        measure_curvature(unfinished)
    assert not (made / ".work").exists()


@pytest.mark.parametrize(
    "values",
    [
        {"eigenvalues": []}, {"eigenvalues": [float("nan")] * 3}, {"eigenvalues": ["1", "2", "3"]}, {"eigenvalues": [1, 2, 3]},
        {"eigenvalues": [10**400, 1.0, 1.0]}, {"seed": 10**30}, {"seed": True}, {"trace": None}, {"trace": "1"},
        {"basis": 0}, {"batch": -1}, {"tolerance": 0.0}, {"converged": [1, 1, 1]}, {"slices": []}, {"slices": {"corner": None}},
        {"density": []}, {"density": {"grid": [1.0, 0.0], "values": [1.0, 1.0], "width": 1.0, "probes": 1}},
        {"more": 1}, {"theta_sha256": "x"}, {"theta_sha256": "0" * 64 + "\n"}, {"model": "../../x"},
        {"trace_samples": [0.0] * 20_000}, {"labels": "original"}, {"images": 2**50}, {"scale": -1.0},
    ],
    ids=lambda values: repr(values)[:40],
)  # fmt: skip
def test_hostile_documents_are_damaged_in_words(run, values):
    path = run / "models/dnn/curvature.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(DamagedError, match=r"models/dnn/curvature\.json"):
        read_curvature(run, "dnn")


def test_deep_nesting_and_no_json_are_damaged_in_words(run):
    path = run / "models/dnn/curvature.json"
    for text in ("[" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000, "", "null", "[]", "\x00", '{"trace": NaN}'):
        path.write_text(text)
        with pytest.raises(DamagedError, match=r"models/dnn/curvature\.json"):
            read_curvature(run, "dnn")
