"""Kinds of parameters, buffers, data and directions that torch and numpy know and a surface must take, or refuse in words."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from torch.nn import functional

import tmrepro
from tests.landscape import side_effects as cases
from tmrepro.errors import UsageError

loss_surface = inspect.unwrap(tmrepro.loss_surface)  # as callers have it, without the tests' type checker


class Masked(cases.Two):
    """Hidden units times a buffer of some kind."""

    def __init__(self, buffer: torch.Tensor) -> None:
        super().__init__()
        self.mask = nn.Buffer(buffer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.mask.is_sparse:
            return self.fc2(torch.sparse.mm(self.mask, self.hidden(x).t()).t())
        return self.fc2((self.hidden(x) * self.mask).to(x.dtype))


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(40, cases.FEATURES, generator=generator), torch.randint(3, (40,), generator=generator)


def linear() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Linear(cases.FEATURES, 3)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_buffers_in_float64_and_sparse_ones(data, precision, tmp_path):
    dense = Masked(torch.ones(16))
    expected = loss_surface(dense, "cross_entropy", *data, grid=3, precision=precision)
    for buffer in (torch.ones(16, dtype=torch.float64), torch.eye(16).to_sparse()):
        model = Masked(buffer)
        with torch.no_grad():
            for value, wanted in zip(model.parameters(), dense.parameters(), strict=True):
                value.copy_(wanted)
        folder = tmp_path / f"{buffer.dtype}{buffer.layout}"
        found = loss_surface(model, "cross_entropy", *data, grid=3, precision=precision, out=folder)
        np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-5)


def test_arrays_of_the_other_byte_order_and_read_only_ones(data):
    x, y = (value.numpy() for value in data)
    expected = loss_surface(linear(), "cross_entropy", x, y, grid=2)
    frozen = x.copy()
    frozen.flags.writeable = False
    for inputs, targets in (
        (x.astype(">f4"), y.astype(">i8")),
        (frozen, y.astype(np.uint16)),
        (x[:, ::-1].copy()[:, ::-1], y),
    ):
        xr.testing.assert_identical(loss_surface(linear(), "cross_entropy", inputs, targets, grid=2), expected)


@pytest.mark.parametrize("normalization", ["l2", "filter", "layer", "none"])
def test_a_layer_of_no_inputs_moves_nothing(normalization):
    class Empty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.none, self.fc = nn.Linear(0, 3), nn.Linear(cases.FEATURES, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x) + self.none(x[:, :0])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, that there is nothing to initialise
        model = Empty()
    x, y = torch.randn(9, cases.FEATURES), torch.zeros(9, dtype=torch.int64)
    assert np.isfinite(loss_surface(model, "cross_entropy", x, y, grid=2, normalization=normalization).loss).all()


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.phase = nn.Parameter(torch.ones(cases.FEATURES, 3, dtype=torch.complex64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.to(torch.complex64) @ self.phase).real


def old_weight_norm() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(linear())


def sparse() -> nn.Module:
    model = linear()
    model.extra = nn.Parameter(torch.eye(3).to_sparse())
    return model


def expanded() -> nn.Module:
    model = linear()
    model.bias = nn.Parameter(torch.zeros(1).expand(3))
    return model


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Complex, "'phase' is complex64; theta is a vector of real numbers: keep real and imaginary parts"),
        (old_weight_norm, "cannot be copied.*use torch.nn.utils.parametrizations.weight_norm"),
        (lambda: nn.Linear(cases.FEATURES, 3, device="meta"), "on the meta device, which holds no values"),
        (sparse, "'extra' is sparse_coo, expected a dense one"),
        (expanded, "'bias' is an expanded tensor"),
    ],
)
def test_parameters_that_are_no_dense_real_numbers_are_refused(model, words, data):
    with pytest.raises(UsageError, match=words):
        loss_surface(model(), "cross_entropy", *data, grid=2)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"inputs": torch.eye(40, cases.FEATURES).to_sparse()}, "inputs: expected a dense tensor"),
        ({"inputs": torch.empty(40, cases.FEATURES, device="meta")}, "inputs: is on the meta device"),
        ({"inputs": np.zeros(40, dtype="datetime64[s]")}, "inputs: "),
        ({"directions": ([torch.ones(3, cases.FEATURES)], [torch.ones(3)])}, r"a tensor per parameter \(2\), got 1"),
        ({"directions": ([1.0, 2.0], [3.0, 4.0])}, "delta: weight: expected a tensor or an array, got a float$"),
        ({"directions": {"delta": {}, "beta": {}}}, "two seeds, or two directions"),
        ({"directions": {"first": 1, "second": 2}}, "two seeds, or two directions"),
        ({"batch": 32}, "batch: expected 'all'"),
    ],
)
def test_what_cannot_be_taken_is_refused(asked, words, data):
    given: dict[str, Any] = {"inputs": data[0], "targets": data[1], "grid": 2} | asked
    with pytest.raises(UsageError, match=words):
        loss_surface(linear(), "cross_entropy", **given)


def test_directions_are_lists_of_tensors_and_dictionaries_of_two(data):
    draws = torch.Generator().manual_seed(1)
    delta, eta = ([torch.randn(value.shape, generator=draws) for value in linear().parameters()] for _ in range(2))
    expected = loss_surface(linear(), "cross_entropy", *data, (delta, eta), 3)
    vectors = [np.concatenate([part.numpy().ravel() for part in parts]) for parts in (delta, eta)]
    mixed = {"delta": vectors[0], "eta": {"weight": eta[0], "bias": eta[1]}}
    for directions in ({"delta": delta, "eta": eta}, tuple(vectors), mixed):
        xr.testing.assert_identical(loss_surface(linear(), "cross_entropy", *data, directions, 3), expected)
    seeds = loss_surface(linear(), "cross_entropy", *data, {"delta": 1, "eta": 2}, 3)
    xr.testing.assert_identical(seeds, loss_surface(linear(), "cross_entropy", *data, (1, 2), 3))


def test_the_divergence_of_soft_targets_says_what_torchs_cross_entropy_is(data):
    x, _ = data
    wanted = torch.rand(40, 3, generator=torch.Generator().manual_seed(2)).softmax(1)
    found = loss_surface(linear(), "cross_entropy", x, wanted, grid=2)
    with torch.no_grad():
        torchs = float(functional.cross_entropy(linear()(x), wanted))
    assert float(found.loss[0, 0]) + found.attrs["target_entropy"] == pytest.approx(torchs, rel=1e-5)
    assert found.attrs["loss"].startswith("Kullback-Leibler divergence")


def test_networks_that_cannot_be_traced_leave_nothing_on_stderr(data, capfd):
    class Shaped(cases.Two):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.hidden(x)
            return self.fc2(h.view(len(x), -1) if x.dim() == 2 else h)

    class Fixed(cases.Two):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc2(self.hidden(x) + torch.zeros(x.shape[0], 1).expand(x.size(0), cases.HIDDEN))

    class Squeezing(cases.Two):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc2(self.hidden(x).unsqueeze(0).squeeze())

    for make in (Shaped, Fixed, Squeezing, cases.BranchesOnWeights, cases.UnusedRelu):
        loss_surface(make(), "cross_entropy", *data, grid=2)
    assert capfd.readouterr().err == ""


def test_two_losses_that_are_both_zero_at_a_true_minimum_are_two(data, tmp_path):
    class Sure(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(cases.FEATURES, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 1e4 * self.fc(x)

    model = Sure()
    with torch.no_grad():
        labels = model(data[0]).argmax(1)

    def make(factor: float):
        def own(outputs, targets):
            return factor * functional.multi_margin_loss(outputs, targets, reduction="none")

        return own

    loss_surface(model, make(1.0), data[0], labels, grid=2, out=tmp_path)
    loss_surface(model, make(1.0), data[0], labels, grid=2, out=tmp_path)
    with pytest.raises(UsageError, match="changed: losses"):
        loss_surface(model, make(2.0), data[0], labels, grid=2, out=tmp_path)
