"""A network that takes its time, so that a blow can hit it; and that no pickle could carry."""

from __future__ import annotations

import time

import torch
from torch import nn

SECONDS = 0.01


def slow() -> nn.Module:
    class Local(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
            self.last = lambda logits: 2 * logits

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            time.sleep(SECONDS)
            return self.last(self.network(images))

    return Local()
