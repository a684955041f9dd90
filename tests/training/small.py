"""Small sets that can be learnt, networks with every kind of state, and short specs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tmrepro.networks import build_model
from tmrepro.records import Signature
from tmrepro.spec import AdamOptimizer, CnnModel, DnnModel, StopSpec, TrainingSpec
from tmrepro.training import Examples

CLASSES = 3


class Tied(nn.Module):
    """One matrix used twice, under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(48, 6)
        self.middle = nn.Linear(6, 6)
        self.again = nn.Linear(6, 6)
        self.again.weight = self.middle.weight
        self.last = nn.Linear(6, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x.flatten(1)).relu()
        return self.last(self.again(self.middle(hidden).relu()).relu())


def _normed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, CLASSES),
    )


def _dropping() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(48, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, CLASSES)
    )


def _frozen() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, CLASSES))
    model[1].requires_grad_(requires_grad=False)
    return model


KINDS: dict[str, Callable[[], nn.Module]] = {
    "normed": _normed,
    "dropping": _dropping,
    "tied": Tied,
    "frozen": _frozen,
}


def build(kind: str) -> Callable[[int], nn.Module]:
    """Return a function that builds a network from a seed.

    Kinds: dnn, cnn, normed (batch norm), dropping (batch norm and dropout), tied, frozen (in part).
    """

    def seeded(seed: int) -> nn.Module:
        match kind:
            case "dnn":
                spec = DnnModel(name="dnn", kind="dnn", widths=(10, CLASSES))
                return build_model(spec, signature=Signature.of_pictures(classes=CLASSES, size=4), seed=seed)
            case "cnn":
                return build_model(
                    CnnModel(name="cnn", kind="cnn", channels=(6, CLASSES)),
                    signature=Signature.of_pictures(classes=CLASSES, size=4),
                    seed=seed,
                )
            case _:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(seed)
                    return KINDS[kind]()

    return seeded


def blobs(n: int = 30, m: int = 11, *, noise: float = 0.5, seed: int = 0) -> Examples:
    """Return n + m images of 3 x 4 x 4 around one picture per class; `noise` is the deviation within a class."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randn(CLASSES, 3, 4, 4, generator=generator)
    labels = torch.randint(CLASSES, (n + m,), generator=generator)
    inputs = pictures[labels] + noise * torch.randn(n + m, 3, 4, 4, generator=generator)
    return Examples(inputs[:n], labels[:n], inputs[n:], labels[n:], CLASSES)


def short(**fields: Any) -> TrainingSpec:
    """Return a training section that runs all its epochs, few of them, without a warm-up, unless told otherwise."""
    return TrainingSpec(
        **{
            "optimizer": AdamOptimizer(lr=0.02),
            "batch_size": 8,
            "warmup_steps": 0,
            "max_epochs": 4,
            "reseeds": 0,
            "stop": StopSpec(at="never"),
            **fields,
        }
    )
