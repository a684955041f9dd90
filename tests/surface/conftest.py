"""What the tests of surfaces share: one thread, and a large network. What else they share is in modules of this folder."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tmrepro.networks.networks import residual_network


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Everything here is small."""


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    """ResNet50 for images of 3 x 32 x 32, with statistics of its own, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = residual_network(4, momentum=0.5, eps=1e-5)
        with torch.no_grad():
            for _ in range(4):
                model(torch.randn(16, 3, 32, 32))
    return model.eval()
