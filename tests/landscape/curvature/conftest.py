"""Small networks, and the dense Hessian of each in float64, by torch's own forward-over-reverse differentiation."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

IMAGES, FEATURES, CLASSES = 90, 5, 3


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Everything here is small."""


def smooth() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 6), nn.Tanh(), nn.Linear(6, CLASSES))


def batch_norm() -> nn.Module:
    """In eval mode its statistics are constants, which the oracle must see too."""
    model = nn.Sequential(nn.Linear(FEATURES, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, CLASSES))
    model(3 + 2 * torch.randn(40, FEATURES))
    return model


class Pooled(nn.Module):
    """ReLU, max pooling and adaptive pooling, whose second derivatives CUDA and deterministic modes are strict about."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, CLASSES, 3)
        self.pool, self.mean = nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x.view(len(x), 1, 5, 5)))
        return self.mean(self.second(self.pool(x))).flatten(1)


class Tied(nn.Module):
    """One matrix in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(FEATURES, FEATURES)
        self.again = nn.Linear(FEATURES, FEATURES)
        self.again.weight = self.inner.weight
        self.last = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.again(torch.tanh(self.inner(x)))))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "smooth": smooth, "batch_norm": batch_norm, "pooled": Pooled, "tied": Tied,
}  # fmt: skip


def built(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return NETWORKS[name]()


def inputs_of(model: nn.Module) -> Tensor:
    features = 25 if isinstance(model, Pooled) else FEATURES
    return torch.randn(IMAGES, features, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def targets() -> Tensor:
    return torch.randint(CLASSES, (IMAGES,), generator=torch.Generator().manual_seed(6))


def dense_hessian(model: nn.Module, loss: Callable[[Tensor, Any], Tensor], x: Tensor, y: Any) -> Tensor:
    """The matrix of second derivatives of the mean loss [n, n], in the order of `named_parameters`."""
    wide = copy.deepcopy(model).double().eval()
    named = dict(wide.named_parameters())

    def mean_loss(theta: Tensor) -> Tensor:
        parts = torch.split(theta, [value.numel() for value in named.values()])
        moved = {name: part.view(value.shape) for (name, value), part in zip(named.items(), parts, strict=True)}
        return loss(functional_call(wide, moved, (x.double(),)), y)

    theta = torch.cat([value.detach().reshape(-1) for value in named.values()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch's own first use of it
        return torch.func.hessian(mean_loss)(theta)
