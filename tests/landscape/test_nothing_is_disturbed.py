"""Whoever asks for a surface finds model, generators and settings as they were, however it ended."""

from __future__ import annotations

import copy
import inspect
import random
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import tmrepro
from tmrepro.landscape import torch_state as room

loss_surface = inspect.unwrap(tmrepro.loss_surface)  # as callers have it, without the tests' type checker


def traces(model: nn.Module) -> dict[str, Any]:
    """Everything that must not change, as values that can be compared."""
    numpy_state = np.random.get_state()  # noqa: NPY002 - the global one is what is watched
    return {
        "state": {name: (value.data_ptr(), value.numpy().tobytes()) for name, value in model.state_dict().items()},
        "gradients": {
            name: (value.requires_grad, None if value.grad is None else value.grad.numpy().tobytes())
            for name, value in model.named_parameters()
        },
        "modes": {name: module.training for name, module in model.named_modules()},
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (numpy_state[1].tobytes(), numpy_state[2]),
        "python": random.getstate(),
        "threads": torch.get_num_threads(),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        "grad": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "matmul": torch.get_float32_matmul_precision(),
        "precision": [setting.fp32_precision for setting in room._FLOAT32_ROOMS],
    }


@pytest.fixture
def lived_in(network: nn.Module, inputs: torch.Tensor) -> nn.Module:
    """In training, but for one layer; one parameter frozen, the others with gradients."""
    network.train()
    network[1].eval()
    network[0].bias.requires_grad_(requires_grad=False)
    network(inputs).sum().backward()
    return network


def test_all_is_as_it_was(lived_in, inputs, targets):
    before = traces(lived_in)
    loss_surface(lived_in, "cross_entropy", inputs, targets, grid=3, threads=3)
    assert traces(lived_in) == before
    assert before["threads"] == 1


class Meddling(nn.Module):
    """Draws, writes a buffer and changes settings in every forward pass, and is interrupted in a chosen one."""

    passes: ClassVar[list[int]] = []
    interrupted_in: ClassVar[int] = 10**9

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(7, 3)
        self.seen = nn.Buffer(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.fill_(1)
        torch.rand(3), np.random.rand(), random.random()  # noqa: NPY002, S311
        torch.set_num_threads(4)
        torch.use_deterministic_algorithms(True, warn_only=True)
        Meddling.passes.append(1)
        if len(Meddling.passes) == Meddling.interrupted_in:
            raise KeyboardInterrupt
        return self.inner(x)


@pytest.mark.parametrize("interrupted_in", [1, 2, 5, 10**9])
def test_all_is_as_it_was_after_an_interruption(interrupted_in, inputs, targets, monkeypatch, tmp_path):
    model = Meddling().train()
    monkeypatch.setattr(Meddling, "passes", [])
    monkeypatch.setattr(Meddling, "interrupted_in", interrupted_in)
    before = traces(model)
    if interrupted_in < 100:
        with pytest.raises(KeyboardInterrupt):
            loss_surface(model, "cross_entropy", inputs, targets, grid=4, out=tmp_path / "kept")
    else:
        loss_surface(model, "cross_entropy", inputs, targets, grid=4, out=tmp_path / "kept")
    assert Meddling.passes
    assert traces(model) == before


def test_all_is_as_it_was_after_a_refusal(lived_in, inputs, targets):
    before = traces(lived_in)

    def refuse(*_: int) -> None:
        raise ValueError("told off")

    with pytest.raises(ValueError, match="told off"):
        loss_surface(lived_in, "cross_entropy", inputs, targets, grid=2, progress=refuse)
    assert traces(lived_in) == before


@pytest.mark.parametrize("setting", ["highest", "high", "medium"])
def test_the_callers_precision_does_not_count_and_comes_back(setting, network, inputs, targets):
    expected = loss_surface(network, "cross_entropy", inputs, targets, grid=2)
    torch.set_float32_matmul_precision(setting)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            before = traces(network)
            found = loss_surface(network, "cross_entropy", inputs, targets, grid=2)
            assert traces(network) == before
    finally:
        torch.set_float32_matmul_precision("highest")
    assert found.loss.values.tobytes() == expected.loss.values.tobytes()


def test_a_callers_inference_mode_and_deterministic_algorithms_do_no_harm(network, inputs, targets):
    expected = loss_surface(network, "cross_entropy", inputs, targets, grid=2)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.inference_mode():
            found = loss_surface(copy.deepcopy(network), "cross_entropy", inputs, targets, grid=2)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert np.array_equal(found.loss, expected.loss)
