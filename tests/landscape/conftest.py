"""A network of somebody else's: batch norm, dropout, modules in different modes, data that are no pictures."""

from __future__ import annotations

import pytest
import torch
from torch import nn

CLASSES, IMAGES, FEATURES = 3, 150, 7


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Everything here is small."""


@pytest.fixture
def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = nn.Sequential(
            nn.Linear(FEATURES, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.5), nn.Linear(9, CLASSES)
        )
        model(3 + 2 * torch.randn(40, FEATURES))
    return model


@pytest.fixture
def inputs() -> torch.Tensor:
    return torch.randn(IMAGES, FEATURES, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def targets() -> torch.Tensor:
    return torch.randint(CLASSES, (IMAGES,), generator=torch.Generator().manual_seed(6))
