"""Lines through a network's parameters, and grids with one point along an axis, against a loop in float64."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

import tmrepro
from tmrepro.errors import UsageError

loss_line = inspect.unwrap(tmrepro.loss_line)  # as callers have it, without the tests' type checker
loss_surface = inspect.unwrap(tmrepro.loss_surface)

POINTS = np.linspace(-1.5, 2.0, 37)


def plain_loop(model, vector, x, y, points) -> np.ndarray:
    """The mean cross entropy at theta* + a vector in float64."""
    wide = copy.deepcopy(model).double().eval()
    named = dict(wide.named_parameters())
    parts = torch.split(torch.from_numpy(vector).double(), [value.numel() for value in named.values()])
    found = []
    for a in points:
        moved = {
            name: value.detach() + a * part.view(value.shape)
            for (name, value), part in zip(named.items(), parts, strict=True)
        }
        found.append(nn.functional.cross_entropy(functional_call(wide, moved, (x.double(),)), y).item())
    return np.array(found)


def vector_of(model) -> np.ndarray:
    size = sum(value.numel() for value in model.parameters())
    return (np.random.default_rng(3).normal(size=size) / 4).astype(np.float32)


def dense(inputs) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return nn.Sequential(nn.Linear(inputs.shape[1], 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize("evaluator", [None, "plain", "tracked", "batched"])
def test_a_line_is_what_the_loop_gives(inputs, targets, evaluator):
    model = dense(inputs)
    vector = vector_of(model)
    expected = plain_loop(model, vector, inputs, targets, POINTS)
    line = loss_line(model, "cross_entropy", inputs, targets, vector, POINTS, evaluator=evaluator)
    assert (np.abs(line.loss - expected) <= 1e-5 * (np.abs(expected) + 0.01)).all()
    assert (line.loss.dims, line.accuracy.dims, list(line.coords)) == (("a",), ("a",), ["a"])
    assert line.a.values.tolist() == POINTS.tolist()
    assert line.attrs["evaluator"] == (evaluator or "tracked")
    assert 0 <= line.attrs["error_over_bound"] <= 1
    assert all(0 <= index < len(POINTS) for index in line.attrs["error_points"])


def test_a_line_in_float64_and_with_batch_norm(network, inputs, targets):
    vector = vector_of(network)
    expected = plain_loop(network, vector, inputs, targets, POINTS)
    line = loss_line(network, "cross_entropy", inputs, targets, vector, POINTS, precision="float64")
    np.testing.assert_allclose(line.loss, expected, rtol=1e-12)


def test_a_seed_draws_the_first_direction_of_a_surface(inputs, targets):
    """The line is the surface's column b = 0, and its attributes are those of the direction."""
    model = dense(inputs)
    line = loss_line(model, "cross_entropy", inputs, targets, 5, 7, step=0.5, origin="center")
    surface = loss_surface(model, "cross_entropy", inputs, targets, (5, 6), 7, step=0.5, origin="center")
    column = surface.loss.sel(b=0).values
    assert (np.abs(line.loss - column) <= 2e-5 * (np.abs(column) + 0.01)).all()
    assert line.a.values.tolist() == surface.a.values.tolist()
    assert (line.attrs["home"], line.attrs["direction_seed"]) == (3, 5)
    assert line.attrs["direction_sha256"] == surface.attrs["delta_sha256"]
    assert line.attrs["direction_norm"] == surface.attrs["delta_norm"]
    assert line.attrs["theta_norm"] == surface.attrs["theta_norm"]
    assert not {name for name in line.attrs if name.startswith(("delta", "eta", "cosine"))}


def test_relative_units_and_dicts_and_directions_toward_a_point(inputs, targets):
    model = dense(inputs)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for value in other.parameters():
            value.mul_(1.5).add_(0.1)
    toward = tmrepro.directions_toward(model, other)
    line = loss_line(model, "cross_entropy", inputs, targets, toward, [0.0, 0.5, 1.0])
    with torch.no_grad():
        ends = [float(nn.functional.cross_entropy(network(inputs), targets)) for network in (model, other)]
    np.testing.assert_allclose(line.loss.values[[0, 2]], ends, rtol=1e-5)
    part = {"0.weight": torch.ones_like(model[0].weight)}
    relative = loss_line(model, "cross_entropy", inputs, targets, part, 3, step=0.1, unit="relative")
    assert relative.a.values.tolist() == [0, 0.1 * relative.attrs["theta_norm"], 0.2 * relative.attrs["theta_norm"]]


def test_a_line_is_kept_and_read_and_can_be_written_as_netcdf(inputs, targets, tmp_path):
    model = dense(inputs)
    first = loss_line(model, "cross_entropy", inputs, targets, 5, 40, step=0.1, out=tmp_path / "line")
    again = loss_line(model, "cross_entropy", inputs, targets, 5, 40, step=0.1, out=tmp_path / "line")
    assert first.identical(again)
    assert tmrepro.verify(tmp_path / "line").exit_code == 0
    assert all(isinstance(value, int | float | str | list) for value in first.attrs.values())


@pytest.mark.parametrize("lengths", [(9, 1), (1, 9), (4, 3)])
def test_two_lengths_are_the_two_axes(inputs, targets, lengths):
    model = dense(inputs)
    found = loss_surface(model, "cross_entropy", inputs, targets, grid=lengths, step=0.5)
    axes = tuple(0.5 * np.arange(K) for K in lengths)
    expected = loss_surface(model, "cross_entropy", inputs, targets, grid=axes)
    assert found.identical(expected)
    assert found.loss.shape == lengths


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"direction": None}, "direction: expected a seed"),
        ({"direction": True}, "direction: expected a seed"),
        ({"direction": -1}, "direction: expected a seed of at least 0"),
        ({"direction": np.zeros(3)}, "direction: expected a vector of"),
        ({"direction": {"9.weight": torch.zeros(2)}}, "direction: no parameter '9.weight'"),
        ({"direction": (1, 2)}, "direction: expected a tensor per parameter"),
        ({"grid": 1}, "at least 2"),
        ({"grid": "many"}, "grid"),
        ({"grid": None}, "grid"),
        ({"grid": [0.0, 0.0]}, "each above the one before it"),
        ({"grid": [0.0, 1.0], "step": 1.0}, "origin and step"),
        ({"grid": 4, "origin": "center"}, "odd"),
        ({"step": 0}, "step"),
        ({"normalization": "l3"}, "normalization: choose one of"),
    ],
    ids=str,
)
def test_what_is_no_line_is_refused(inputs, targets, asked, words):
    with pytest.raises(UsageError, match=words):
        loss_line(dense(inputs), "cross_entropy", inputs, targets, **asked)


def test_a_direction_that_moves_nothing_is_refused(inputs, targets):
    model = dense(inputs)
    with pytest.raises(UsageError, match="direction moves nothing"):
        loss_line(model, "cross_entropy", inputs, targets, np.zeros_like(vector_of(model)))
    for lengths in ((0, 3), (1, 1), (3, 5000)):
        with pytest.raises(UsageError, match="grid"):
            loss_surface(model, "cross_entropy", inputs, targets, grid=lengths)
