"""The surface of a user's own network against a loop written here, in float64, with torch's own loss."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from torch.func import functional_call

import tmrepro

loss_surface = inspect.unwrap(tmrepro.loss_surface)  # as callers have it, without the tests' type checker

A, B = [-1.0, 0.0, 0.3], [0.0, 0.5]


def vectors(model: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    size = sum(value.numel() for value in model.parameters())
    draws = np.random.default_rng(1).normal(size=(2, size)).astype(np.float32)
    return draws[0], draws[1] / 3


def by_name(model: nn.Module, vector: np.ndarray) -> dict[str, torch.Tensor]:
    named = dict(model.named_parameters())
    parts = torch.split(torch.from_numpy(vector), [value.numel() for value in named.values()])
    return {name: part.view(value.shape) for (name, value), part in zip(named.items(), parts, strict=True)}


def oracle(model: nn.Module, pair: Any, loss: Any, x: torch.Tensor, y: torch.Tensor, a: Any, b: Any) -> np.ndarray:
    wide = copy.deepcopy(model).double().eval()
    delta, eta = (by_name(model, vector) for vector in pair)
    found = np.empty((len(a), len(b)))
    for i, a_i in enumerate(a):
        for j, b_j in enumerate(b):
            moved = {
                name: value.detach().double() + a_i * delta[name].double() + b_j * eta[name].double()
                for name, value in model.named_parameters()
            }
            with torch.no_grad():
                found[i, j] = loss(functional_call(wide, moved, (x.double(),)), y).item()
    return found


def test_vectors_of_ones_own_on_axes_of_ones_own(network, inputs, targets):
    pair = vectors(network)
    expected = oracle(network, pair, nn.CrossEntropyLoss(), inputs, targets, A, B)
    found = loss_surface(network, "cross_entropy", inputs, targets, pair, (A, B), precision="float64")
    np.testing.assert_allclose(found.loss, expected, rtol=1e-12)
    assert (found.a.values.tolist(), found.b.values.tolist(), found.attrs["home"]) == (A, B, [1, 0])
    assert found.loss.dims == ("a", "b")
    single = loss_surface(network, "cross_entropy", inputs, targets, pair, (A, B))
    assert (np.abs(single.loss - expected) <= 1e-5 * (np.abs(expected) + 0.01)).all()
    assert not np.array_equal(single.loss, found.loss)


def test_dicts_are_vectors_by_name_and_what_is_missing_stands_still(network, inputs, targets):
    delta, eta = vectors(network)
    dicts = (by_name(network, delta), {"4.weight": by_name(network, eta)["4.weight"]})
    still = np.zeros_like(eta)
    offset = sum(value.numel() for value in list(network.parameters())[:4])
    still[offset : offset + 27] = eta[offset : offset + 27]
    found = loss_surface(network, "cross_entropy", inputs, targets, dicts, (A, B))
    as_vectors = loss_surface(network, "cross_entropy", inputs, targets, (delta, still), (A, B))
    xr.testing.assert_identical(found, as_vectors)
    assert found.attrs["eta_norm"] == pytest.approx(float(np.linalg.norm(still.astype(float))))


@pytest.mark.parametrize("normalization", ["l2", "filter", "layer"])
def test_directions_of_ones_own_are_normalised_where_that_is_asked(network, inputs, targets, normalization):
    """A multiple of a direction is the same direction then; a filter of zeros stays one."""
    delta, eta = vectors(network)
    delta[:7] = 0
    asked = {"grid": (A, B), "normalization": normalization}
    found = loss_surface(network, "cross_entropy", inputs, targets, (delta, eta), **asked)
    longer = loss_surface(network, "cross_entropy", inputs, targets, (delta * 8, eta / 4), **asked)
    assert np.array_equal(found.loss, longer.loss)
    assert np.isfinite(found.loss).all()


def test_seeds_give_the_same_directions_as_a_runs(network, inputs, targets):
    """The stream is Philox's; l2 is one norm over all of it."""
    size = sum(value.numel() for value in network.parameters())
    pair = []
    for seed in (8, 9):
        drawn = np.random.Generator(np.random.Philox(key=seed)).standard_normal(size, dtype=np.float32)
        pair.append((drawn.astype(np.float64) / np.sqrt(np.sum(drawn.astype(np.float64) ** 2))).astype(np.float32))
    found = loss_surface(network, "cross_entropy", inputs, targets, (8, 9), 3, origin="center", step=0.5)
    expected = loss_surface(network, "cross_entropy", inputs, targets, tuple(pair), ([-0.5, 0, 0.5], [-0.5, 0, 0.5]))
    assert np.array_equal(found.loss, expected.loss)
    assert (found.attrs["delta_seed"], found.attrs["eta_seed"]) == (8, 9)
    assert found.attrs["home"] == [1, 1]


def test_a_grid_by_k_is_the_papers_corner_and_relative_steps_are_shares_of_theta(network, inputs, targets):
    found = loss_surface(network, "cross_entropy", inputs, targets, grid=3)
    assert (found.a.values.tolist(), found.attrs["home"]) == ([0, 1, 2], [0, 0])
    theta = torch.cat([value.detach().double().flatten() for value in network.parameters()])
    assert found.attrs["theta_norm"] == pytest.approx(float(theta.norm()))
    relative = loss_surface(network, "cross_entropy", inputs, targets, grid=3, step=0.5, unit="relative")
    np.testing.assert_allclose(relative.b, 0.5 * float(theta.norm()) * np.arange(3))
    axes = loss_surface(network, "cross_entropy", inputs, targets, grid=([0, 0.5], [0, 0.5, 1.0]), unit="relative")
    assert np.array_equal(axes.loss, relative.loss[:2])


def mse(outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return ((outputs - wanted) ** 2).sum(1)


def test_a_loss_of_ones_own(network, inputs):
    wanted = torch.randn(150, 3, generator=torch.Generator().manual_seed(1))
    pair = vectors(network)
    expected = oracle(
        network, pair, lambda o, t: ((o - t.double()) ** 2).sum(1).mean(), inputs, wanted, [0.0, 1.0], [0.0]
    )
    found = loss_surface(network, mse, inputs, wanted, pair, ([0.0, 1.0], [0.0]), precision="float64")
    np.testing.assert_allclose(found.loss, expected, rtol=1e-12)
    assert "accuracy" not in found
    assert found.attrs["evaluator"] == "plain"


def test_cross_entropy_as_a_function_is_cross_entropy(network, inputs, targets):
    own = loss_surface(network, nn.CrossEntropyLoss(reduction="none"), inputs, targets, grid=2, precision="float64")
    ours = loss_surface(network, "cross_entropy", inputs, targets, grid=2, precision="float64")
    np.testing.assert_allclose(own.loss, ours.loss, rtol=1e-12)
    assert np.array_equal(own.accuracy, ours.accuracy)


def test_distributions_are_zero_where_they_are_the_outputs(network, inputs):
    with torch.no_grad():
        own = copy.deepcopy(network).eval()(inputs).softmax(1)
    found = loss_surface(network, "cross_entropy", inputs, own, grid=2, directions=(1, 2))
    assert abs(found.loss[0, 0]) < 1e-6
    assert found.accuracy[0, 0] == 1
    assert found.loss[1, 1] > 1e-4


class Tokens(nn.Module):
    """Whole numbers in, an output per token: no pictures, no labels of classes."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 5)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.table(tokens)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_inputs_may_be_whole_numbers_and_outputs_of_any_shape(precision):
    model, tokens = Tokens(), torch.arange(12).reshape(4, 3) % 11
    wanted = torch.zeros(4, 3, 5)
    found = loss_surface(model, lambda o, t: (o - t).square().mean((1, 2)), tokens, wanted, grid=2, precision=precision)
    with torch.no_grad():
        assert found.loss[0, 0] == pytest.approx(float(model(tokens).square().mean()), rel=1e-5)


def test_arrays_do_as_well_as_tensors(network, inputs, targets):
    as_arrays = loss_surface(network, "cross_entropy", inputs.numpy(), targets.numpy().astype(np.int32), grid=2)
    xr.testing.assert_identical(as_arrays, loss_surface(network, "cross_entropy", inputs, targets, grid=2))


def test_losses_that_are_not_finite_are_results(network, inputs, targets):
    found = loss_surface(network, "cross_entropy", inputs, targets, grid=([0.0, 1e39], [0.0]))
    assert np.isfinite(found.loss[0, 0])
    assert not np.isfinite(found.loss[1, 0])


def test_progress_counts_every_point(network, inputs, targets):
    told: list[tuple[int, int]] = []
    loss_surface(
        network,
        "cross_entropy",
        inputs[:4],
        targets[:4],
        grid=([0, 1, 2], [0, 1]),
        chunk=2,
        progress=lambda done, of: told.append((done, of)),
    )
    assert told == [(4, 6), (6, 6)]
    loss_surface(network, "cross_entropy", inputs[:4], targets[:4], grid=2, progress=True)
