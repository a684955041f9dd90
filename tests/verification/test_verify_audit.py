"""Level audit: whatever theta*, the data and the spec do not give is a difference, exit code 1, however well it is forged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tmrepro
from tests.verification.checks import audit, failures
from tmrepro.errors import UsageError
from tmrepro.verification.platforms import Platforms

HERE, ELSEWHERE = Platforms(()), Platforms(("processor another",))


def test_a_whole_run_is_identical_and_the_sample_is_told(whole_run: Path) -> None:
    verdict = tmrepro.verify(whole_run, seed=7)
    assert verdict.exit_code == 0
    assert {check.grade for check in verdict.checks} == {"identical"}
    assert {check.level for check in verdict.checks} == {"integrity", "statistics", "audit"}
    assert not verdict.warnings
    said = " ".join(verdict.notes)
    assert "--seed 7" in said
    assert f"{1 - 0.9**16:.1%}" in said
    assert "compared with itself only" in said


@pytest.mark.slow
def test_soft_labels_replicates_and_points_that_are_not_finite_are_identical(varied_run: Path) -> None:
    losses = tmrepro.open_run(varied_run).surface("far", "dnn").loss.to_numpy()
    assert not np.isfinite(losses).all()
    verdict = tmrepro.verify(varied_run)
    assert verdict.exit_code == 0
    assert verdict.grade == "identical"
    subjects = {check.subject for check in verdict.checks}
    assert {"models/dnn.r1", "surfaces.zarr/far.d1/dnn.r1"} <= subjects


def test_a_forged_surface_with_all_that_follows_from_it_is_found(forger: Any) -> None:
    forger.surface("paper", "dnn", lambda loss, _: np.multiply(loss, 1.01, out=loss))
    forger.restate()
    forger.seal()
    assert tmrepro.verify(forger.run, level="statistics").exit_code == 0
    verdict = tmrepro.verify(forger.run)
    assert verdict.exit_code == 1
    assert failures(verdict) == {"surfaces.zarr/paper/dnn": ("audit", "different")}
    assert "probability" in " ".join(verdict.notes)


def test_a_forged_accuracy_is_found(forger: Any) -> None:
    forger.surface("paper", "cnn", lambda _, accuracy: np.subtract(1, accuracy, out=accuracy))
    forger.seal()
    (found,) = audit(forger.run)
    assert found.subject == "surfaces.zarr/paper/cnn"
    assert "accuracy at (i, j)" in found.detail


def test_a_point_made_nan_is_found(forger: Any) -> None:
    def spoil(loss: np.ndarray, _: np.ndarray) -> None:
        loss[2, 3] = np.nan

    forger.surface("paper", "cnn", spoil)
    forger.seal()
    (found,) = audit(forger.run)
    assert "(i, j) = (2, 3): stored nan" in found.detail


def test_a_changed_weight_is_found(forger: Any) -> None:
    def change(tensors: dict[str, np.ndarray]) -> None:
        tensors["1.weight"][2, 5] += 0.5

    forger.weights("dnn", change)
    forger.seal()
    assert tmrepro.verify(forger.run, level="statistics").exit_code == 0
    assert tmrepro.verify(forger.run).exit_code == 1


def test_a_changed_weight_is_found_by_what_it_gives(forger: Any) -> None:
    forger.weights("dnn", lambda tensors: np.multiply(tensors["1.weight"], 1.01, out=tensors["1.weight"]))
    forger.seal()
    assert {check.subject for check in audit(forger.run)} == {"models/dnn", "surfaces.zarr/paper/dnn"}


def test_a_weight_changed_by_its_last_bit_is_not_what_its_stage_recorded(forger: Any) -> None:
    def change(tensors: dict[str, np.ndarray]) -> None:
        tensors["1.bias"][0] = np.nextafter(tensors["1.bias"][0], np.float32(9), dtype=np.float32)

    forger.weights("dnn", change)
    forger.seal(records=False)
    (found,) = audit(forger.run)
    assert (found.subject, found.grade) == ("provenance.json", "different")
    assert "models/dnn/theta.safetensors" in found.detail


def test_the_last_bit_is_a_warning_where_the_records_are_forged_too(forger: Any) -> None:
    def change(tensors: dict[str, np.ndarray]) -> None:
        tensors["1.weight"][:] = np.nextafter(tensors["1.weight"], np.float32(9), dtype=np.float32)

    forger.weights("dnn", change)
    forger.seal()
    verdict = tmrepro.verify(forger.run)
    assert (verdict.grade, verdict.exit_code) == ("equal", 0)
    assert "NOT bitwise identical in the audit" in verdict.warnings[0]
    assert "surfaces.zarr/paper/dnn" in verdict.warnings[0]


def test_a_weight_of_another_shape_is_damage(forger: Any) -> None:
    forger.weights("dnn", lambda tensors: tensors.update({"1.bias": np.zeros(3, dtype=np.float32)}))
    forger.seal()
    assert {check.grade for check in audit(forger.run)} == {"damaged"}


def test_a_changed_label_is_found(forger: Any) -> None:
    forger.labels("dnn", lambda labels: np.put(labels, 7, (labels[7] + 1) % 10))
    forger.seal()
    for platforms in (HERE, ELSEWHERE):  # no rounding turns one confident class into another
        found = {check.subject: check.detail for check in audit(forger.run, platforms=platforms)}
        assert "1 of 60 differ, image 7" in found["models/dnn"]


@pytest.mark.parametrize(
    ("change", "grade"),
    [
        (lambda labels: labels[:-1], "damaged"),
        (lambda labels: labels + 100, "damaged"),
        (lambda labels: np.eye(10, dtype=np.float32)[labels], "different"),
    ],
    ids=["one too few", "no such class", "soft"],
)
def test_labels_of_another_kind_do_not_pass(
    forger: Any, change: Callable[[np.ndarray], np.ndarray], grade: str
) -> None:
    forger.labels("dnn", change)
    forger.seal()
    found = {check.subject: check.grade for check in audit(forger.run)}
    assert found["models/dnn"] == grade


@pytest.mark.parametrize(
    "field",
    [
        {"category": "GM"},
        {"category": "none"},
        {"category": "collapsed"},
        {"reason": "because"},
        {"labels": "soft"},
        {"epsilon": 0.4},
        {"epochs": 3},
        {"best_epoch": 1},
        {"stopped": "max_epochs"},
        {"stopped": "lm"},
        {"train_loss_last": 0.01},
        {"train_loss_previous": None},
        {"train_loss_at_minimum": 0.01},
        {"validation_loss": 0.02},
        {"validation_loss": None},
        {"relabelled_loss": 1e-9},
        {"train_accuracy": 1.0},
        {"validation_accuracy": 1.0},
        {"relabelled_accuracy": 0.5},
        {"gradient_norm": 0.0},
        {"theta_norm": 1.0},
        {"parameters": 10},
        {"seed": 1},
        {"seed": 1_000_000},
        {"seeds_collapsed": [0]},
        {"lm_first_epoch": 2},
        {"gm_first_epoch": None},
        {"validation_first_epoch": 4},
        {"lm_first_seconds": 0.001},
        {"gm_first_seconds": 0.001},
        {"training_seconds": 0.001},
    ],
    ids=lambda field: "-".join(f"{name}-{value}" for name, value in field.items()),
)
def test_no_number_of_a_minimum_can_be_forged(forger: Any, field: dict[str, Any]) -> None:
    forger.minimum("dnn", **field)
    forger.seal()
    found = {check.subject: check.grade for check in audit(forger.run)}
    assert found["models/dnn"] == "different"


def test_a_category_is_found_when_history_and_minimum_are_forged_together(forger: Any) -> None:
    """A history cut short to claim fewer epochs ends where the spec would not have stopped."""
    path = forger.run / "models/dnn/history.csv"
    rows = path.read_text(encoding="utf-8").splitlines()[:6]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    forger.minimum("dnn", epochs=5, best_epoch=5)
    forger.seal()
    (found,) = audit(forger.run)
    assert found.subject == "models/dnn"
    assert "ends after 5 epochs" in found.detail


def test_a_learning_rate_that_is_not_the_schedules_is_found(forger: Any) -> None:
    path = forger.run / "models/dnn/history.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",0.01,", ",0.02,"), encoding="utf-8")
    forger.seal()
    (found,) = audit(forger.run)
    assert "learning rate" in found.detail


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("theta_norm", 3.0),
        ("cosine", 0.5),
        ("images", 7),
        ("labels", "original"),
        ("home", [1, 0]),
        ("step", 2.0),
        ("delta", {"norm": 2.0}),
        ("delta", {"seed": 9}),
        ("eta", {"sha256": "00" * 32}),
    ],
)
def test_what_gives_a_surface_its_axes_cannot_be_forged(forger: Any, attribute: str, value: Any) -> None:
    def change(document: dict[str, Any]) -> None:
        own = document["attributes"]
        own[attribute] = {**own[attribute], **value} if isinstance(value, dict) else value

    forger.json("surfaces.zarr/paper/dnn/zarr.json", change)
    root = "surfaces.zarr/zarr.json"
    forger.json(root, lambda document: change(document["consolidated_metadata"]["metadata"]["paper/dnn"]))
    forger.seal()
    assert [(check.subject, check.grade) for check in audit(forger.run)] == [("surfaces.zarr/paper/dnn", "different")]


def test_other_parameters_in_provenance_are_found(forger: Any) -> None:
    forger.json("provenance.json", lambda document: document["parameters"]["dnn"].reverse())
    forger.seal()
    (found,) = audit(forger.run)
    assert "parameters" in found.detail


def test_other_data_are_no_data_of_this_run(forger: Any) -> None:
    forger.json("provenance.json", lambda document: document["data"].update(fingerprint="0" * 64))
    forger.seal()
    verdict = tmrepro.verify(forger.run)
    assert verdict.exit_code == 3
    assert [check.subject for check in verdict.checks if not check.passed] == ["data"]


def test_an_image_that_changes_sides_is_a_difference_on_this_platform_only(forger: Any) -> None:
    def move(_: np.ndarray, accuracy: np.ndarray) -> None:
        accuracy[3, 3] += 1 / 60 if accuracy[3, 3] < 0.5 else -1 / 60

    forger.surface("paper", "dnn", move)
    forger.seal()
    assert [check.subject for check in audit(forger.run)] == ["surfaces.zarr/paper/dnn"]
    assert audit(forger.run, platforms=ELSEWHERE) == []


@pytest.fixture
def custom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec_file: Path) -> Path:
    """A run with a model of one's own, and a surface on the given labels."""
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def make(classes, width):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(192, width), nn.ReLU(), nn.Linear(width, classes))\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    mine = "{name: dnn, kind: custom, factory: 'mine:make', arguments: {width: 5, classes: 10}}"
    text = spec_file.read_text(encoding="utf-8").replace("{name: dnn, kind: dnn, widths: [8, 10]}", mine)
    text = text.replace("  - {name: cnn, kind: cnn, channels: [4, 10]}\n", "").replace("name: tiny", "name: custom")
    text = text.replace("{name: paper, grid", "{name: paper, labels: original, grid")
    (tmp_path / "custom.yaml").write_text(text.replace("max_epochs: 60", "max_epochs: 3"), encoding="utf-8")
    return tmrepro.run(tmp_path / "custom.yaml", out=tmp_path / "custom").run


def test_code_that_a_run_names_is_imported_only_when_it_is_trusted(custom: Path) -> None:
    assert tmrepro.verify(custom, level="statistics").exit_code == 0
    for level in ("audit", "rerun"):
        with pytest.raises(UsageError, match="--trust-code") as caught:
            tmrepro.verify(custom, level=level)
        assert caught.value.exit_code == 2
    assert tmrepro.verify(custom, trust_code=True).grade == "identical"
    shutil.rmtree(custom / "figures")
    assert tmrepro.verify(custom).exit_code == 3  # damage is found first, and without the code
