"""Short texts as integer tokens, and a network with an embedding for them. The texts are made here: nothing is downloaded."""

from __future__ import annotations

import torch
from torch import Tensor, nn

TOKENS = 40  # of the vocabulary; each class prefers ten of them
CLASSES = 3
LENGTH = 12


def texts(train: int, validation: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Token numbers [n, 12] and class numbers [n] of both parts."""
    generator = torch.Generator().manual_seed(seed)
    total = train + validation
    targets = torch.arange(total) % CLASSES
    anything = torch.randint(TOKENS, (total, LENGTH), generator=generator)
    preferred = 10 * targets[:, None] + torch.randint(10, (total, LENGTH), generator=generator)
    tokens = torch.where(torch.rand(total, LENGTH, generator=generator) < 0.6, preferred, anything)
    return tokens[:train], targets[:train], tokens[train:], targets[train:]


class BagOfTokens(nn.Module):
    """The mean of the tokens' embeddings, then one hidden layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, width)
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, CLASSES))

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [n, 3] of token numbers [n, length]."""
        return self.head(self.embedding(tokens).mean(1))


def network(width: int) -> nn.Module:
    """The network of the spec."""
    return BagOfTokens(width)
