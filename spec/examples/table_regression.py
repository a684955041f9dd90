"""A table of numbers and a small network for it. The data are made here, so nothing is downloaded."""

from __future__ import annotations

import numpy as np
from torch import nn

COLUMNS = 4


def table(train: int, validation: int, seed: int) -> dict[str, np.ndarray]:
    """A smooth function of four columns, with a little noise: inputs [n, 4], targets [n, 1]."""
    stream = np.random.Generator(np.random.Philox(key=seed))
    inputs = stream.uniform(-1, 1, (train + validation, COLUMNS))
    targets = np.sin(2 * inputs[:, :1]) + inputs[:, 1:2] * inputs[:, 2:3]
    targets += 0.05 * stream.standard_normal(targets.shape)
    return {
        "train_inputs": inputs[:train],
        "train_targets": targets[:train],
        "validation_inputs": inputs[train:],
        "validation_targets": targets[train:],
    }


def network(width: int) -> nn.Module:
    """Two hidden layers; one output, since there is one number to predict."""
    return nn.Sequential(nn.Linear(COLUMNS, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
