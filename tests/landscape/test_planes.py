"""Directions that lead somewhere: principal components of states, against NumPy's SVD, and other points of the network."""

from __future__ import annotations

import copy
import inspect
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import tmrepro
from tmrepro.errors import UsageError
from tmrepro.networks.parameters import theta_of

pca_directions = inspect.unwrap(tmrepro.pca_directions)  # as callers have it, without the tests' type checker
directions_toward = inspect.unwrap(tmrepro.directions_toward)
loss_surface = inspect.unwrap(tmrepro.loss_surface)


def moved(model: nn.Module, seed: int, scale: float = 0.3) -> nn.Module:
    other, draw = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in other.parameters():
            value.add_(scale * torch.randn(value.shape, generator=draw))
    return other


@pytest.fixture
def path(network) -> list[nn.Module]:
    """Seven states that end at the network itself, some way from each other."""
    return [*(moved(network, seed, 0.1 * seed) for seed in range(6, 0, -1)), network]


def test_components_are_those_of_the_svd(network, path):
    differences = np.stack([theta_of(state).astype(float) - theta_of(network) for state in path])
    _, singular, rows = np.linalg.svd(differences - differences.mean(0), full_matrices=False)
    found = pca_directions(network, [state.state_dict() for state in path])
    np.testing.assert_allclose(found.explained, singular[:2] ** 2 / np.sum(singular**2), rtol=1e-10)
    for component, row in zip((found.delta, found.eta), rows, strict=False):
        assert component[np.argmax(np.abs(component))] > 0
        assert component.dtype == np.float32
        np.testing.assert_allclose(component, row * np.sign(row[np.argmax(np.abs(row))]), atol=1e-6)
    expected = differences @ np.stack([found.delta, found.eta]).T.astype(float)
    np.testing.assert_allclose(found.coordinates, expected, atol=1e-5)
    np.testing.assert_allclose(found.coordinates[-1], 0, atol=1e-9)


def test_files_dicts_and_vectors_are_the_same_states(network, path, tmp_path, monkeypatch):
    dicts = [state.state_dict() for state in path]
    files = [tmp_path / f"{number}.safetensors" for number in range(len(path))]
    for file, state in zip(files, dicts, strict=True):
        save_file(state, file)
    expected = pca_directions(network, dicts)
    for states in (files, [str(file) for file in files], [theta_of(state) for state in path], [dicts[0], *files[1:]]):
        found = pca_directions(network, states)
        for name in ("delta", "eta", "explained", "coordinates"):
            assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()
    monkeypatch.setattr("tmrepro.directions.components.BLOCK", 50)  # a few numbers of each state at a time
    small = pca_directions(network, files)
    np.testing.assert_allclose(small.explained, expected.explained, rtol=1e-12)
    np.testing.assert_allclose(small.delta, expected.delta, atol=1e-6)


def test_the_plane_of_the_components_goes_into_a_surface(network, path, inputs, targets):
    found = pca_directions(network, [state.state_dict() for state in path])
    ds = loss_surface(network, "cross_entropy", inputs, targets, found, 3)
    assert ds.attrs["delta_norm"] == pytest.approx(1, abs=1e-6)
    assert ds.attrs["cosine"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("orthonormal", [False, True])
def test_a_plane_through_three_points_has_their_losses_at_their_places(network, inputs, targets, orthonormal):
    first, second = moved(network, 1), moved(network, 2)
    found = directions_toward(network, first, second.state_dict(), orthonormal=orthonormal)
    for name, model in (("theta*", network), ("first", first), ("second", second)):
        a, b = found.places[name]
        ds = loss_surface(network, "cross_entropy", inputs, targets, found, ([a], [b]), precision="float64")
        model.eval()
        with torch.no_grad():
            expected = float(nn.functional.cross_entropy(model(inputs), targets))
        assert float(ds.loss[0, 0]) == pytest.approx(expected, rel=1e-5)
    if orthonormal:
        delta, eta = found.delta.astype(float), found.eta.astype(float)
        np.testing.assert_allclose([delta @ delta, eta @ eta, delta @ eta], [1, 1, 0], atol=1e-6)
    else:
        assert found.places == {"theta*": (0, 0), "first": (1, 0), "second": (0, 1)}


def test_a_line_is_no_plane(network, inputs, targets):
    found = directions_toward(network, moved(network, 1))
    assert (found.eta, found.places) == (None, {"theta*": (0, 0), "first": (1, 0)})
    with pytest.raises(UsageError, match="use loss_line"):
        loss_surface(network, "cross_entropy", inputs, targets, found, 3)


def test_points_that_make_no_plane_are_refused(network):
    first = moved(network, 1)
    theta, there = theta_of(network), theta_of(first)
    for points, words in (
        ((None,), "got nothing"),
        ((network,), "first: is the same point as theta"),
        ((first, network), "second: is the same point as theta"),
        ((first, first), "second: lies on the line .*same point"),
        ((there, (theta + 2 * (there.astype(float) - theta)).astype(np.float32)), "second: lies on the line"),
        ((there[:-1],), "expected a vector of"),
        ((np.where(theta == theta[3], np.nan, theta),), "not finite"),
        ((nn.Linear(7, 9),), "first: of another network: it has no parameter '0.weight'"),
        ((nn.Sequential(nn.Linear(7, 8)),), "first: of another network: 0.weight has shape"),
        ((3,), "expected a state dict"),
    ):
        with pytest.raises(UsageError, match=words):
            directions_toward(network, *points)


def test_states_that_make_no_plane_are_refused(network, path, tmp_path):
    states = [theta_of(state) for state in path]
    theta, there = states[-1], states[0]
    line = [(theta + share * (there.astype(float) - theta)).astype(np.float32) for share in (1, 0.5, 0.25, 0)]
    broken = copy.deepcopy(states)
    broken[2][5] = np.inf
    more = {**network.state_dict(), "extra": torch.zeros(2)}
    rounded = {name: value.long() for name, value in network.state_dict().items()}
    save_file(rounded, tmp_path / "rounded.safetensors")
    (tmp_path / "none.safetensors").write_bytes(b"\0" * 40)
    header = json.dumps({"0.weight": {"dtype": "F32", "shape": [9, "x"], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "odd.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    whole = tmp_path / "whole.safetensors"
    save_file(network.state_dict(), whole)
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-200])
    for given, words in (
        (states[:1], "at least three states, got 1"),
        (states[:2], "at least three states, got 2"),
        ([theta] * 4, "theta\\* itself"),
        ([there] * 4, "one line, or are the same point"),
        (line, "one line"),
        (broken, "state 2: .*not finite"),
        ([*states, more], "state 7: of another network: the model has no 'extra'"),
        ([*states, nn.Linear(7, 9).state_dict()], "state 7: of another network: it has no parameter"),
        ([*states, tmp_path / "rounded.safetensors"], "expected float32, float64, float16 or bfloat16, found I64"),
        ([*states, tmp_path / "none.safetensors"], "expected a safetensors file"),
        ([*states, tmp_path / "odd.safetensors"], "expected a safetensors file"),
        ([*states, tmp_path / "cut.safetensors"], "ends too early"),
        ([*states, tmp_path / "missing"], "cannot be read"),
        (network.state_dict(), "expected a list of states"),
        (5, "expected a list of states"),
    ):
        with pytest.raises(UsageError, match=words):
            pca_directions(network, given)
