"""`tmrepro diff`: the first place where two runs part is named, whatever comes after it; times of day don't count."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import tmrepro
from tests.support.runs import edit_json, seal
from tmrepro.api import measure_curvature
from tmrepro.cli.main import app
from tmrepro.comparison.contents import Part
from tmrepro.comparison.provenance import likely_reasons
from tmrepro.comparison.runs import compare_runs
from tmrepro.comparison.stages import Difference, _value
from tmrepro.errors import DamagedError
from tmrepro.store.surfaces import open_surface, read_surface

SPEC = """
version: 1
name: tiny
data: {name: digits, train: 40, validation: 20, size: 8}
models:
  - {name: dnn, kind: dnn, widths: [8, 10]}
  - {name: cnn, kind: cnn, channels: [4, 10]}
training: {batch_size: 20, max_epochs: 3, warmup_steps: 2, reseeds: 0, stop: {at: never}}
surfaces:
  - {name: one, grid: {K: 3}, chunk: 2}
compute: {threads: 1}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run. Nobody may change it."""
    folder = tmp_path_factory.mktemp("diff")
    (folder / "tiny.yaml").write_text(SPEC, encoding="utf-8")
    run = tmrepro.run(folder / "tiny.yaml", out=folder / "run").run
    measure_curvature(run, top=1, samples=20, probes=2, density_probes=0)
    return run


@pytest.fixture
def other(run, tmp_path) -> Path:
    """A copy of it, to be changed and sealed."""
    return Path(shutil.copytree(run, tmp_path / "other"))


def replace(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text(encoding="utf-8")
    after = change(before)
    assert after != before
    path.write_text(after, encoding="utf-8")


def change_spec(run: Path) -> None:
    replace(run / "spec.yaml", lambda text: text.replace("threads: 1", "threads: 7"))


def change_data(run: Path) -> None:
    edit_json(run / "provenance.json", lambda document: document["data"].update(fingerprint="f" * 64))


def change_history(run: Path) -> None:
    def second_epoch(text: str) -> str:
        lines = text.splitlines()
        cells = lines[2].split(",")
        cells[3], cells[5] = "0.125", "0.25"  # validation_loss and lr
        return "\n".join([*lines[:2], ",".join(cells), *lines[3:]]) + "\n"

    replace(run / "models" / "cnn" / "history.csv", second_epoch)


def change_theta(run: Path) -> None:
    path = run / "models" / "dnn" / "theta.safetensors"
    tensors = safetensors.numpy.load(path.read_bytes())
    tensors["3.bias"][7] = 5.5
    tensors["3.weight"][2, 1] = -0.75
    path.write_bytes(safetensors.numpy.save(tensors))


def change_label(run: Path) -> None:
    path = run / "models" / "cnn" / "labels.npy"
    labels = np.load(path)
    labels[11] = (labels[11] + 1) % 10
    np.save(path, labels)


def change_minimum(run: Path) -> None:
    edit_json(
        run / "models" / "dnn" / "minimum.json", lambda document: document.update(gradient_norm=2.5, theta_norm=9.5)
    )


def change_chunk(run: Path) -> None:
    surface, _, _, _ = read_surface(run, "one", "cnn")
    loss = surface.loss[2:3, 0:2].copy()
    loss[0, 1] = 77.25
    open_surface(run, "one", "cnn").write((1, 0), loss, surface.accuracy[2:3, 0:2])
    shutil.rmtree(run / ".work")


def change_statistic(run: Path) -> None:
    edit_json(run / "statistics.json", lambda document: document["one"]["cnn"].update(loss_max=3.5, roughness=0.25))


def change_figure(run: Path) -> None:
    shutil.copyfile(run / "figures" / "one.shared.png", run / "figures" / "one.png")


def change_curvature(run: Path) -> None:
    edit_json(run / "models" / "cnn" / "curvature.json", lambda document: document.update(products=7))


def change_eigenvalue(run: Path) -> None:
    def second(document: dict) -> None:
        document["residuals"][0] = 0.75
        document["converged"][0] = False

    edit_json(run / "models" / "cnn" / "curvature.json", second)


def change_eigenvector(run: Path) -> None:
    path = run / "models" / "cnn" / "curvature.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def add_file(run: Path) -> None:
    (run / "notes.txt").write_text("ours", encoding="utf-8")


def add_file_of_a_network(run: Path) -> None:
    (run / "models" / "cnn" / "notes.txt").write_text("ours", encoding="utf-8")


CHANGES = [
    (change_spec, "spec", r"compute\.threads: 1 here, 7 there"),
    (change_data, "data", r"fingerprint: \w{64} here, f{64} there"),
    (change_theta, "training/dnn", r"theta\*, 3\.weight, \[2, 1\] \(1 of 80 differs\): \S+ here, -0\.75 there"),
    (change_minimum, "minimum/dnn", r"minimum\.json, gradient_norm: \S+ here, 2\.5 there"),
    (change_history, "training/cnn", r"epoch 2, validation_loss \(and lr\): \S+ here, 0\.125 there"),
    (change_label, "minimum/cnn", r"labels\.npy, \[11\] \(1 of 40 differs\): \d here, \d there"),
    (change_chunk, "surface/one/cnn", r"chunk 1/0, loss, point \[2, 1\] \(1 of 2 differs\): \S+ here, 77\.25 there"),
    (change_statistic, "statistics", r"one cnn loss_max: \S+ here, 3\.5 there"),
    (change_figure, "figures", r"figures/one\.png \(\S+% of the pixels\): SHA-256 \w{16} here, SHA-256 \w{16} there"),
    (add_file, "other files", r"notes\.txt: none here, there is one there"),
]
MORE_CHANGES = [
    (change_curvature, "curvature/cnn", r"curvature\.json, products: \d+ here, 7 there"),
    (
        change_eigenvector,
        "curvature/cnn",
        r"models/cnn/curvature\.safetensors: SHA-256 \w{16} here, SHA-256 \w{16} there",
    ),
    (add_file_of_a_network, "other files", r"models/cnn/notes\.txt: none here, there is one there"),
]


def test_a_run_is_the_same_as_itself(run):
    found = compare_runs(run, run)
    assert found.first is None
    assert (found.exit_code, found.reasons) == (0, ())
    assert [stage.stage for stage in found.stages] == [
        "spec", "data", "training/dnn", "minimum/dnn", "curvature/dnn", "training/cnn", "minimum/cnn", "curvature/cnn",
        "surface/one/dnn", "surface/one/cnn", "statistics", "figures", "other files",
    ]  # fmt: skip


def test_what_tells_the_time_does_not_count(run, other):
    replace(other / "models" / "cnn" / "history.csv", lambda text: text.rpartition(",")[0] + ",99.5\n")
    edit_json(other / "models" / "dnn" / "minimum.json", lambda document: document.update(training_seconds=99.5))
    edit_json(other / "provenance.json", lambda document: document.update(started="yesterday", seconds=5.0, timings={}))
    for name in ("report.html", "ro-crate-metadata.json"):
        replace(other / name, lambda text: f"{text}\n")
    (other / "claims.json").write_text("{}", encoding="utf-8")
    seal(other)
    assert compare_runs(run, other).first is None


@pytest.mark.parametrize(
    ("change", "stage", "said"), [*CHANGES, *MORE_CHANGES], ids=lambda given: getattr(given, "__name__", "")
)
def test_the_stage_and_the_place_are_named(run, other, change, stage, said):
    change(other)
    seal(other)
    found = compare_runs(run, other)
    assert found.first is not None
    assert found.first.stage == stage
    assert re.fullmatch(said, str(found.first.difference)), str(found.first.difference)
    assert [one.stage for one in found.stages if one.difference] == [stage]
    assert found.exit_code == 1


def test_the_first_of_many_differences_comes_first(run, other):
    for change, _, _ in reversed(CHANGES[2:]):
        change(other)
    seal(other)
    found = compare_runs(run, other)
    assert [stage.stage for stage in found.stages if stage.difference] == [stage for _, stage, _ in CHANGES[2:]]
    assert found.first is not None
    assert found.first.stage == "training/dnn"


def test_here_and_there_are_not_mixed_up(run, other):
    change_statistic(other)
    seal(other)
    forth, back = compare_runs(run, other).first, compare_runs(other, run).first
    assert forth is not None
    assert back is not None
    assert forth.difference == Difference("one cnn loss_max", back.difference.there, back.difference.here)
    assert forth.difference.there == "3.5"


def test_a_network_of_one_side_alone_is_a_difference(run, other):
    replace(
        other / "spec.yaml",
        lambda text: text.replace("name: cnn\n", "name: mine\n").replace("[dnn, cnn]", "[dnn, mine]"),
    )
    (other / "models" / "cnn").rename(other / "models" / "mine")
    seal(other)
    stages = {stage.stage: stage.difference for stage in compare_runs(run, other).stages}
    assert str(stages["spec"]) == "models[1].name: cnn here, mine there"
    assert stages["training/cnn"] == Difference("models/cnn/history.csv", "there is one", "none")
    assert stages["training/mine"] == Difference("models/mine/history.csv", "none", "there is one")


def test_other_seeds_part_in_the_first_epoch(run, tmp_path):
    (tmp_path / "tiny.yaml").write_text(SPEC.replace("batch_size: 20", "batch_size: 20, seed: 4"), encoding="utf-8")
    other = tmrepro.run(tmp_path / "tiny.yaml", out=tmp_path / "run").run
    stages = {stage.stage: str(stage.difference) for stage in compare_runs(run, other).stages}
    assert stages["spec"] == "models[0].training.seed: 0 here, 4 there"
    assert stages["training/dnn"].startswith("epoch 1, train_loss (and ")
    assert stages["data"] == "None"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda run: (run / "statistics.json").write_text("{}"), r"other: statistics\.json: SHA-256 differs"),
        (lambda run: (run / "manifest-sha256.txt").unlink(), r"other: not a finished run"),
        (lambda run: (run / ".work").mkdir(), r"other: not a finished run"),
        (lambda run: shutil.rmtree(run), r"other: not a finished run"),
    ],
)
def test_a_damaged_or_unfinished_run_is_not_compared(run, other, damage, said):
    damage(other)
    for pair in ((run, other), (other, run)):
        with pytest.raises(DamagedError, match=said):
            compare_runs(*pair)
    assert DamagedError.exit_code == 3


def test_nonsense_under_a_fitting_manifest_is_damage(run, other):
    (other / "models" / "cnn" / "theta.safetensors").write_bytes(b"nonsense")
    seal(other)
    with pytest.raises(DamagedError, match=r"models/cnn/theta\.safetensors: expected a safetensors file"):
        compare_runs(run, other)


def test_the_machines_arithmetic_is_the_likeliest_reason(run):
    here = json.loads((run / "provenance.json").read_text(encoding="utf-8"))
    there = json.loads((run / "provenance.json").read_text(encoding="utf-8"))
    assert likely_reasons(here, there) == []
    there["packages"]["numpy"] = "1.0"
    there["packages"]["torch"] = "3.0"
    there["platform"]["fingerprint"]["cpu"]["exp"] = "0" * 16
    there["platform"]["determinism"]["environment"]["MKL_CBWR"] = None
    there["stages"]["surface/one/cnn"]["facts"]["evaluator"] = "grouped"
    there["platform"]["cores_visible"] = 64
    reasons = likely_reasons(here, there)
    assert reasons[0] == "the machines compute different bits (cpu): exp"
    numpy = here["packages"]["numpy"]
    assert f"packages numpy: {numpy} here, 1.0 there" in reasons
    assert "determinism environment MKL_CBWR: COMPATIBLE here, nothing there" in reasons
    assert any(reason.startswith("surface/one/cnn evaluator: ") for reason in reasons)
    assert len(reasons) == 5


@pytest.mark.parametrize(
    "document", [{}, {"platform": 3}, {"packages": [], "stages": None, "platform": {"fingerprint": 1}}]
)
def test_provenance_that_says_nothing_gives_no_traceback(run, document):
    here = json.loads((run / "provenance.json").read_text(encoding="utf-8"))
    assert likely_reasons(here, document)
    assert isinstance(likely_reasons(document, document), list)


def test_the_command_prints_a_table_or_json_and_ends_with_its_code(run, other):
    change_theta(other)
    seal(other)
    same = CliRunner().invoke(app, ["diff", str(run), str(run)])
    assert (same.exit_code, same.stdout.splitlines()[-1]) == (0, "SAME: bitwise identical, except for times")
    told = CliRunner().invoke(app, ["diff", str(run), str(other)])
    assert told.exit_code == 1
    assert "DIFFERENT, first in training/dnn, theta*, 3.weight, [2, 1] (1 of 80 differs): " in told.stdout
    assert "code, packages, machines and arithmetic are the same" in told.stdout
    document = json.loads(CliRunner().invoke(app, ["diff", str(run), str(other), "--json"]).stdout)
    assert (document["same"], document["exit_code"], document["first"]["stage"]) == (False, 1, "training/dnn")
    assert [stage["stage"] for stage in document["stages"] if not stage["same"]] == ["training/dnn"]


@given(data=st.data(), shape=st.tuples(st.integers(1, 4), st.integers(1, 5)))
def test_one_changed_bit_is_found_where_it_is(data, shape):
    """In any array, nan and the sign of 0 included: what counts is bits."""
    here = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    here.flat[0] = np.nan
    i, j = (data.draw(st.integers(0, length - 1)) for length in shape)
    there = here.copy()
    there.view(np.uint64)[i, j] ^= np.uint64(1) << np.uint64(data.draw(st.integers(0, 63)))
    (found,) = _value(Part("x", here, there))
    assert re.match(rf"x, \[{i}, {j}\]( \(|$)", found.what)
    assert list(_value(Part("x", here, here.copy()))) == []


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (np.array([0.0]), np.array([-0.0])),
        (np.array(3), np.array(4)),
        (np.zeros(2), np.zeros(3)),
        (np.zeros(2), np.zeros(2, "f4")),
        (0.0, -0.0),
        (1, 1.0),
        (None, 1.0),
    ],
)
def test_what_is_equal_in_value_alone_is_a_difference(here, there):
    assert len(list(_value(Part("x", here, there)))) == 1
