"""Networks of a user's own, named by the specs of the tests: small, and some of them bad."""

from __future__ import annotations

import torch
from torch import nn


def with_batch_norm(*, width: int) -> nn.Module:
    """A network whose buffers matter as much as its parameters."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * width, 10),
    )


class Constant(nn.Module):
    """Says the same of every image, and cannot learn anything else."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(images), 10)


class Cliff(nn.Module):
    """A network whose logits overflow when its gate leaves its place: a surface with inf and nan on it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images) * torch.exp(1e4 * self.gate.abs()).detach()


class FailsInTraining(nn.Module):
    """Fails only once training has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            raise KeyError("no such layer")
        return self.network(images)


class Blind(nn.Module):
    """Overflows for images that it has not been trained on: 60 of 3 x 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
        self.register_buffer("seen", torch.zeros(60, 192))
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits, flat = self.network(images), images.flatten(1)
        if self.training:
            self.seen[(self.next + torch.arange(len(flat))) % 60] = flat.detach()
            self.next += len(flat)
            return logits
        strange = ~(flat[:, None] == self.seen[None]).all(2).any(1)
        return torch.where(strange[:, None], logits * torch.inf, logits)


def in_a_closure() -> nn.Module:
    """A network whose replaced forward holds on to the module that it was made of."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
    old = network.forward
    network.forward = lambda images: old(images) * 1.0  # type: ignore[method-assign]
    return network


class LessMean(nn.Module):
    """A network whose outputs for an image depend on the others of its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images - images.mean(0))


class Counting(LessMean):
    """A network that counts its calls."""

    calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.network(images)


class Clamping(LessMean):
    """A network that clamps its weights whenever it is called: right when it is evaluated plainly."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.network[0](images)
        with torch.no_grad():
            self.network[1].weight.clamp_(min=-0.01)
        return self.network[1](hidden)


class DeadUnlessFirst(nn.Module):
    """Learns when it is built with seed 0; with any other, its hidden layer is silent and it says the same of every image."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.last = nn.Linear(192, 8), nn.Linear(8, 10)
        if torch.initial_seed() != 0:
            nn.init.constant_(self.hidden.bias, -1e6)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.hidden(images.flatten(1))))


class FragileUnlessFirst(nn.Module):
    """Learns when it is built with seed 0; with any other, training moves its gate to where its logits are nan."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Linear(192, 10)
        self.gate = nn.Parameter(torch.ones(1))
        self.register_buffer("pull", torch.zeros(10))
        if torch.initial_seed() != 0:
            self.pull[0] = 10.0  # the loss falls where the gate does

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.network(images.flatten(1)) + self.gate * self.pull
        return torch.where(self.gate < 0.88, torch.nan, logits)
