"""`tmrepro reproduce`: the paper where it can be, else the quickstart with a word about what is missing; then the verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import tmrepro
from tmrepro.api import build_reference, reproduction
from tmrepro.api.reproduction import make_plan
from tmrepro.cli.main import app
from tmrepro.spec import load_spec

TINY = """
version: 1
name: tiny
data: {name: digits, train: 40, validation: 20, size: 8}
models: [{name: dnn, kind: dnn, widths: [8, 10]}]
training: {batch_size: 20, max_epochs: 4, warmup_steps: 0, reseeds: 0, stop: {at: never}}
surfaces: [{name: paper, grid: {K: 4}}]
compute: {threads: 1}
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spec that takes the place of the quickstart."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")
    monkeypatch.setattr(reproduction, "INSTEAD", path)
    return path


def reproduce(out: Path):
    return CliRunner().invoke(app, ["reproduce", "--out", str(out)])


def test_without_gpu_and_data_both_are_named_and_the_quickstart_is_planned(monkeypatch):
    monkeypatch.delenv("TMREPRO_DATA", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    plan = make_plan(data_dir=None)
    assert (plan.spec.name, plan.device) == ("quickstart", "cpu")
    gpu, data = plan.missing
    assert "--gpus all" in gpu
    assert "--data-dir" in data


def test_half_a_data_set_is_named_by_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"half")
    plan = make_plan(data_dir=tmp_path)
    assert (plan.spec.name, plan.device) == ("quickstart", "cpu")
    (what,) = plan.missing
    assert "data_batch_1" in what


def test_with_both_it_is_the_paper_on_the_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    asked = []
    monkeypatch.setattr("tmrepro.data.load_dataset", lambda data, **where: asked.append((data, where)))
    plan = make_plan(data_dir=Path("data"), download=True)
    assert (plan.spec.name, plan.device, plan.missing) == ("paper", "cuda", ())
    assert [(data.name, where) for data, where in asked] == [("cifar10", {"data_dir": Path("data"), "download": True})]


def test_nothing_is_downloaded_where_no_gpu_could_use_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    asked = []
    monkeypatch.setattr("tmrepro.data.load_dataset", lambda _data, **where: asked.append(where))
    make_plan(data_dir=Path("data"), download=True)
    assert asked == [{"data_dir": Path("data"), "download": False}]


@pytest.mark.usefixtures("tiny")
def test_run_verdict_and_page_are_left_and_a_second_call_repairs(tmp_path):
    out = tmp_path / "out"
    done = reproduce(out)
    assert done.exit_code == 0, done.output
    assert "missing for spec/paper.yaml: " in done.output
    assert sorted(path.name for path in out.iterdir()) == ["tiny", "verdict.html", "verdict.json"]
    verdict = json.loads((out / "verdict.json").read_text())
    assert (verdict["grade"], verdict["exit_code"], verdict["level"]) == ("identical", 0, "audit")
    manifest = (out / "tiny/manifest-sha256.txt").read_bytes()
    (out / "tiny/statistics.json").unlink()
    assert reproduce(out).exit_code == 0
    assert (out / "tiny/manifest-sha256.txt").read_text().splitlines()[:3] == manifest.decode().splitlines()[:3]
    assert tmrepro.verify(out / "tiny").passed


@pytest.mark.usefixtures("tiny")
def test_it_ends_with_the_claims_judged_from_the_shipped_study(tmp_path, monkeypatch):
    study = build_reference(_study(tmp_path), to=tmp_path / "study", runs=tmp_path / "runs")
    monkeypatch.setattr(
        reproduction, "shipped_reference", lambda name: study if name == reproduction.STUDY else tmp_path / "none"
    )
    done = reproduce(tmp_path / "out")
    assert done.exit_code == 0, done.output
    verdict, claims = done.output.split(
        "The claims of the paper, judged from the numbers of the shipped study (paper-cpu):"
    )
    assert "identical" in verdict
    assert "paper: 43 inconclusive" in claims
    assert "C8 has no test" in claims


def _study(folder: Path) -> Path:
    """Three networks, two training seeds."""
    path = folder / "study.yaml"
    models = ", ".join(f"{{name: {name}, kind: dnn, widths: [8, 10]}}" for name in ("dnn", "cnn", "resnet50"))
    path.write_text(
        TINY.replace("{name: dnn, kind: dnn, widths: [8, 10]}", models) + "replicates: {training: 2}\n",
        encoding="utf-8",
    )
    return path


def test_a_result_that_is_not_the_published_one_is_1(tiny, tmp_path, monkeypatch):
    other = load_spec(tiny)
    changed = other.models[0].training.model_copy(update={"seed": 5})
    other = other.model_copy(update={"models": (other.models[0].model_copy(update={"training": changed}),)})
    reference = build_reference(other, to=tmp_path / "reference", runs=tmp_path / "runs")
    monkeypatch.setattr("tmrepro.api.targets.reference_folder", lambda _name: reference)
    done = reproduce(tmp_path / "out")
    assert done.exit_code == 1
    assert json.loads((tmp_path / "out/verdict.json").read_text())["grade"] == "different"


def test_a_spec_of_other_determinism_is_no_surprise():
    """Both start in one process, whose arithmetic is set once."""
    paper, instead = (
        load_spec(Path(__file__).parents[2] / path) for path in (reproduction.PAPER, reproduction.INSTEAD)
    )
    assert paper.compute == instead.compute
