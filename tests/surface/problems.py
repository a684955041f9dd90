"""Small networks at a point that is not a minimum, and problems around them with directions of unequal norm."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from tmrepro.directions.gaussian import DirectionPair
from tmrepro.networks import build_model
from tmrepro.networks.parameters import theta_of
from tmrepro.numerics.inference import Targets
from tmrepro.records import Direction, Signature
from tmrepro.spec import CnnModel, DnnModel
from tmrepro.surface import Problem

CLASSES = 3


def network_of(kind: str) -> nn.Module:
    """Return dnn, cnn or normed (batch norm with statistics of its own), in eval mode, for images of 3 x 6 x 6."""
    match kind:
        case "dnn":
            spec = DnnModel(name="d", kind="dnn", widths=(9, 7, CLASSES))
            return build_model(spec, signature=Signature.of_pictures(classes=CLASSES, size=6), seed=1).eval()
        case "cnn":
            cnn = CnnModel(name="c", kind="cnn", channels=(8, 5, CLASSES))
            return build_model(cnn, signature=Signature.of_pictures(classes=CLASSES, size=6), seed=1).eval()
        case _:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(1)
                model = nn.Sequential(
                    nn.Conv2d(3, 5, 3, padding=1),
                    nn.BatchNorm2d(5),
                    nn.ReLU(),
                    nn.AdaptiveAvgPool2d(2),
                    nn.Flatten(),
                    nn.Linear(20, CLASSES),
                )
                model(2 + 3 * torch.randn(16, 3, 6, 6))  # running statistics far from 0 and 1
            return model.eval()


def images_of(n: int) -> torch.Tensor:
    """Return n images of 3 x 6 x 6."""
    return torch.randn(n, 3, 6, 6, generator=torch.Generator().manual_seed(2))


def problem_around(
    model: nn.Module, *, targets: Targets | None = None, precision: Any = "float64", n: int = 150
) -> Problem:
    """Return a problem around a model: delta and eta of norms 2 and 0.5, and 150 images, which are two batches."""
    size = theta_of(model).size
    draws = np.random.default_rng(3).normal(size=(2, size))
    draws *= np.array([[2.0], [0.5]]) / np.linalg.norm(draws, axis=1, keepdims=True)
    delta, eta = draws.astype(np.float32)
    facts = Direction(seed=0, sha256="", norm=1.0)
    if targets is None:
        targets = Targets(torch.arange(n) % CLASSES)
    return Problem(model, DirectionPair(delta, eta, facts, facts, 0.0), images_of(n), targets, precision)
