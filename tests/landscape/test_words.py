"""What cannot be is told in words, before anything is computed."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tmrepro
from tmrepro.errors import UsageError

loss_surface = inspect.unwrap(tmrepro.loss_surface)  # as callers have it, without the tests' type checker


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.inner(x), x


class Float8(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(7, 3).to(torch.float8_e4m3fn), requires_grad=False)


class Uncopied(Pair):
    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        raise RuntimeError("one of a kind")


X, Y = torch.ones(4, 7), torch.tensor([0, 1, 2, 0])
SIZE = 7 * 9 + 9 + 9 + 9 + 27 + 3
NAN = torch.full((4, 7), torch.nan)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"model": len}, "model: expected a torch.nn.Module, got a builtin"),
        ({"model": nn.ReLU()}, "model: has no parameters"),
        ({"model": nn.Linear(7, 3).double(), "precision": "float32"}, "in float64, which float32 would round"),
        ({"model": Float8()}, "'weight' is float8_e4m3fn, expected float64, float32, float16 or bfloat16"),
        ({"model": nn.LazyLinear(3)}, "'weight' has no shape yet"),
        ({"model": Pair()}, "model: returns a tuple, expected a tensor"),
        ({"model": Uncopied()}, "cannot be copied .RuntimeError: one of a kind"),
        ({"model": nn.Sequential(nn.Linear(7, 3), nn.Flatten(0))}, r"an output per input \(4\), got shape \[12\]"),
        ({"inputs": None}, "inputs: expected a tensor or an array, a tuple, list or dict of them, or a DataLoader"),
        ({"inputs": X[:0]}, r"at least one input along the first axis, got shape \[0, 7\]"),
        ({"inputs": X[:, :5]}, r"model: fails on inputs of shape \[4, 5\], float32: RuntimeError: mat1"),
        ({"inputs": NAN}, "inputs: has values that are not finite"),
        ({"inputs": X.to(torch.complex64)}, "inputs: expected real numbers, got complex64"),
        ({"inputs": np.array(["a"] * 4)}, "inputs: can't convert"),
        ({"targets": None}, "targets: expected a tensor"),
        ({"targets": Y[:3]}, r"targets: expected as many as inputs \(4\), got shape \[3\]"),
        ({"targets": Y + 1}, "the model has 3 classes, 0 to 2; found label 3"),
        ({"targets": Y - 1}, "the model has 3 classes, 0 to 2; found label -1"),
        ({"targets": Y == 0}, r"targets: expected labels \[n\] for outputs \[n, 3\], got shape \[4\], bool"),
        ({"targets": Y.float()}, r"whole numbers \[n\] \(classes\) or distributions \[n, 3\]"),
        ({"targets": torch.ones(4, 3)}, "targets: expected distributions"),
        ({"targets": torch.ones(4, 2)}, r"distributions \[n, 3\], got shape \[4, 2\]"),
        (
            {"loss": "hinge"},
            "loss: expected one of cross_entropy, mse, mae, bce_with_logits, a loss module of torch, or a",
        ),
        (
            {"loss": nn.functional.cross_entropy},
            r"a single number for a batch of 4.*expected one loss per input \[4, ...\]",
        ),
        ({"loss": lambda o, _: o.shape}, "got a Size"),
        ({"loss": torch.matmul}, "loss: fails on outputs of shape .4, 3.: RuntimeError"),
        ({"directions": (1, 1)}, "two different seeds of at least 0"),
        ({"directions": (-1, 2)}, "two different seeds of at least 0"),
        ({"directions": 3}, "directions: expected two seeds, or two directions, each a dict"),
        ({"directions": ({"0.wieght": X}, {})}, "no parameter '0.wieght'; did you mean '0.weight'"),
        ({"directions": ({"0.weight": X}, {})}, r"0.weight: expected shape \[9, 7\], got \[4, 7\]"),
        ({"directions": (np.ones(SIZE), np.ones(5))}, rf"eta: expected a vector of {SIZE} numbers, got shape \[5\]"),
        ({"directions": (np.ones(SIZE), np.full(SIZE, np.inf))}, "eta: has values that are not finite"),
        ({"directions": (np.ones(SIZE), np.zeros(SIZE))}, "eta moves nothing"),
        ({"directions": ({"0.bias": torch.ones(9)}, {}), "moves": "weights"}, "delta moves nothing"),
        ({"grid": 1}, "at least 2 and at most 4096"),
        ({"grid": True}, "at least 2 and at most 4096"),
        ({"grid": 4, "origin": "center"}, "must be odd when the origin is center"),
        ({"grid": 4, "origin": "middle"}, "origin: choose one of corner, center"),
        ({"step": 0.0}, "step: expected a finite number above 0"),
        ({"grid": ([0, 1], [0, 1]), "step": 2.0}, "origin and step are for a grid given by K"),
        ({"grid": ([1, 0], [0, 1])}, "axis a: expected finite numbers, each above the one before"),
        ({"grid": ([0, 1], [0, np.nan])}, "axis b: expected finite numbers"),
        ({"grid": ([0, 1], [])}, "axis b: expected 1 to 4096 numbers in a row"),
        ({"grid": ([0, 1], "ab")}, "axis b: expected numbers"),
        ({"grid": ([0], [1], [2])}, "grid: expected K, two lengths, or the two axes"),
        ({"precision": "half"}, "precision: choose one of float32, float64, tf32, bfloat16 .got 'half'"),
        ({"unit": "m"}, "unit: choose one of"),
        ({"moves": "none"}, "moves: choose one of"),
        ({"normalization": "l1"}, "normalization: choose one of l2, filter, layer, none"),
        ({"chunk": 0}, "chunk: expected a whole number of at least 1"),
        ({"threads": 1.5}, "threads: expected a whole number of at least 1"),
        ({"evaluator": "fast"}, "there is no evaluator 'fast'"),
    ],
)
def test_the_error_says_what_is_wrong(network, asked, words):
    given = {"model": network, "loss": "cross_entropy", "inputs": X, "targets": Y, "grid": 2} | asked
    with pytest.raises(UsageError, match=words):
        loss_surface(**given)


def test_weights_that_are_not_finite_are_no_point(network):
    with torch.no_grad():
        network[4].bias[1] = torch.inf
    with pytest.raises(UsageError, match=r"'4.bias' has values that are not finite"):
        loss_surface(network, "cross_entropy", X, Y, grid=2)
