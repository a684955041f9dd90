"""trajectory.csv against its definition: NumPy and torch in float64, from the weights that the run kept."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

import tmrepro
from tmrepro.networks.parameters import layout_of, theta_of


def rows_of(run: Path, model: str = "dnn") -> list[dict[str, float]]:
    with (run / "models" / model / "trajectory.csv").open(encoding="ascii") as file:
        return [{name: float(text) if text else math.nan for name, text in row.items()} for row in csv.DictReader(file)]


def thetas_of(run: Path, epochs: list[int]) -> np.ndarray:
    layout = layout_of(tmrepro.open_run(run).model("dnn"))
    files = [safetensors.numpy.load_file(run / f"models/dnn/trajectory/{epoch}.safetensors") for epoch in epochs]
    return np.array([np.concatenate([file[part.name].ravel() for part in layout]) for file in files], dtype=np.float64)


@pytest.fixture(scope="module")
def rows(whole_run: Path) -> list[dict[str, float]]:
    return rows_of(whole_run)


@pytest.fixture(scope="module")
def away(whole_run: Path, rows: list[dict[str, float]]) -> np.ndarray:
    """Theta - theta* of every row."""
    return thetas_of(whole_run, [int(row["epoch"]) for row in rows]) - theta_of(
        tmrepro.open_run(whole_run).model("dnn")
    )


def test_epochs_are_the_first_every_second_the_last_and_that_of_theta_star(whole_run, rows):
    best = tmrepro.open_run(whole_run).minimum("dnn").best_epoch
    assert [int(row["epoch"]) for row in rows] == sorted({0, 2, 4, 6, 7, best})


def test_losses_and_gradients_are_those_on_the_networks_own_labels(whole_run, rows):
    view = tmrepro.open_run(whole_run)
    inputs, labels = view.inputs().double(), view.labels("dnn")
    for row in rows:
        model = view.model("dnn").double()
        state = safetensors.torch.load_file(whole_run / f"models/dnn/trajectory/{int(row['epoch'])}.safetensors")
        model.load_state_dict({name: value.double() for name, value in state.items()})
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        assert row["loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
        assert row["gradient_norm"] == pytest.approx(math.sqrt(sum(float((g * g).sum()) for g in gradients)), rel=1e-4)


def test_distances_and_angles(rows, away):
    np.testing.assert_allclose([row["distance"] for row in rows], np.linalg.norm(away, axis=1), rtol=1e-12)
    steps, towards = np.diff(away, axis=0), -away[:-1]
    lengths = np.linalg.norm(steps, axis=1) * np.linalg.norm(towards, axis=1)
    expected = np.sum(steps * towards, axis=1) / lengths
    assert math.isnan(rows[0]["cosine"])
    np.testing.assert_allclose([row["cosine"] for row in rows[1:]], expected, rtol=1e-9)


@pytest.mark.parametrize("surface", ["random", "pca", "hessian", "raw", "straight"])
def test_places_are_the_nearest_points_of_each_plane(whole_run, rows, away, surface):
    pair = tmrepro.open_run(whole_run).directions(surface, "dnn")
    basis = np.array(
        [np.concatenate([part.numpy().ravel() for part in one.values()]) for one in pair], dtype=np.float64
    ).T
    places, *_ = np.linalg.lstsq(basis, away.T, rcond=None)
    np.testing.assert_allclose([row[f"{surface}.a"] for row in rows], places[0], atol=1e-7)
    np.testing.assert_allclose([row[f"{surface}.b"] for row in rows], places[1], atol=1e-7)
    left = np.linalg.norm(away.T - basis @ places, axis=0)
    np.testing.assert_allclose([row[f"{surface}.distance"] for row in rows], left, rtol=1e-6, atol=1e-7)


def test_components_are_those_of_numpys_decomposition(whole_run, rows, away):
    centred = away - away.mean(axis=0)
    _, singular, components = np.linalg.svd(centred, full_matrices=False)
    for k in range(2):
        vector = components[k] * np.sign(components[k][np.argmax(np.abs(components[k]))])
        np.testing.assert_allclose([row[f"pca_{k + 1}"] for row in rows], away @ vector, atol=1e-6)
    view = tmrepro.open_run(whole_run)
    explained = view.provenance["stages"]["trajectory/dnn"]["facts"]["explained"]
    np.testing.assert_allclose(explained, (singular**2 / np.sum(singular**2))[:2], rtol=1e-7)


def test_theta_star_is_the_origin_and_has_the_loss_of_minimum_json(whole_run, rows):
    minimum = tmrepro.open_run(whole_run).minimum("dnn")
    home = next(row for row in rows if row["epoch"] == minimum.best_epoch)
    assert home["distance"] == home["pca.a"] == home["random.b"] == 0
    assert (home["loss"], home["gradient_norm"]) == (minimum.relabelled_loss, minimum.gradient_norm)


def test_a_surface_along_eigenvectors_bends_by_the_eigenvalues(whole_run):
    view = tmrepro.open_run(whole_run)
    loss, a = view.surface("hessian", "dnn").loss.values, view.surface("hessian", "dnn").a.values
    values = view.provenance["stages"]["directions/hessian/dnn"]["facts"]["eigenvalues"]
    step = a[1] - a[0]
    along = [(loss[0, 1] - 2 * loss[1, 1] + loss[2, 1]) / step**2, (loss[1, 0] - 2 * loss[1, 1] + loss[1, 2]) / step**2]
    np.testing.assert_allclose(along, values, rtol=2e-3)
    twisted = (loss[0, 0] - loss[0, 2] - loss[2, 0] + loss[2, 2]) / (4 * step**2)
    assert abs(twisted) < 2e-3 * values[0]


def test_a_plane_between_minima_holds_them(whole_run):
    """At (1, 0) and (0, 1) the network is the first and the second other."""
    view = tmrepro.open_run(whole_run)
    inputs, labels = view.inputs().double(), view.labels("dnn")
    surface = view.surface("raw", "dnn").loss.values
    for (i, j), name in (((0, 0), "dnn"), ((1, 0), "one"), ((0, 1), "two")):
        expected = torch.nn.functional.cross_entropy(view.model(name).double()(inputs), labels)
        assert surface[i, j] == pytest.approx(float(expected.detach()), rel=1e-6)


def test_orthonormal_planes_mark_the_other_minima_at_their_true_distance(whole_run):
    from tmrepro.store.surfaces import read_facts

    view = tmrepro.open_run(whole_run)
    facts = read_facts(whole_run, "straight", "dnn")
    home = theta_of(view.model("dnn")).astype(np.float64)
    others = {name: theta_of(view.model(name)) - home for name in ("one", "two")}
    assert abs(facts.cosine) < 1e-6
    assert [mark.name for mark in facts.marks] == list(others)
    for mark in facts.marks:
        assert math.hypot(mark.a, mark.b) == pytest.approx(np.linalg.norm(others[mark.name]), rel=1e-6)
    assert facts.marks[0].b == pytest.approx(0, abs=1e-5)


def test_a_trajectory_of_ones_own_gives_the_same(whole_run, tmp_path, rows):
    """`tmrepro.Trajectory`, fed the states that the run kept."""
    view = tmrepro.open_run(whole_run)
    model = view.model("dnn")
    theta_star = {name: value.clone() for name, value in model.state_dict().items()}
    path = tmrepro.Trajectory(model, tmp_path / "path")
    for row in rows:
        model.load_state_dict(
            safetensors.torch.load_file(whole_run / f"models/dnn/trajectory/{int(row['epoch'])}.safetensors")
        )
        path.record(int(row["epoch"]))
    model.load_state_dict(theta_star)
    found = path.dataset("cross_entropy", view.inputs(), view.labels("dnn"), planes={"mine": (1, 2)})
    for ours, theirs in (
        ("loss", "loss"),
        ("gradient_norm", "gradient_norm"),
        ("distance", "distance"),
        ("cosine", "cosine"),
        ("pca_1", "pca_1"),
        ("pca_2", "pca_2"),
        ("mine_a", "random.a"),
        ("mine_b", "random.b"),
        ("mine_distance", "random.distance"),
    ):
        np.testing.assert_allclose(found[ours].values, [row[theirs] for row in rows], rtol=1e-9, atol=1e-12)
    assert found.attrs["explained"] == view.provenance["stages"]["trajectory/dnn"]["facts"]["explained"]
