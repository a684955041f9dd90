"""A first spec for users: three files that run without changes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from tmrepro.errors import StorageError, UsageError
from tmrepro.spec.fields import NAME_PATTERN

CLASSES = 3
TRAIN, VALIDATION = 300, 90

_SPEC = """\
# A first spec: your own data and your own network.
#
#   tmrepro run {name}.yaml              train, find the minimum, evaluate the surface: seconds
#   tmrepro verify runs/{name} --trust-code
#   tmrepro spec explain {name}.yaml     every field, its default and the reason for it
version: 1
name: "{name}"
data:
  name: arrays
  file: "{name}.npz"        # train_inputs, train_targets, validation_inputs, validation_targets; beside this file
models:
  # A function in {module}.py, beside this file, that returns a torch module.
  - {{name: mlp, kind: custom, factory: "{module}:network", arguments: {{width: 32}}}}
training:
  # Integers as targets are classes. For floating point numbers as targets: loss: mse
  batch_size: 50
  max_epochs: 100
  stop: {{at: gm, epsilon: 0.05}}
surfaces:
  - name: around
    directions: {{normalization: filter}}      # as long as the trained filters, so 0.05 is a twentieth of them
    grid: {{K: 21, origin: center, step: 0.05}}
"""

_MODEL = '''\
"""The network of {name}.yaml. If this file changes, the network is trained again."""

from torch import nn


def network(width: int) -> nn.Module:
    """Map inputs [n, 2] to logits [n, {classes}]: one output per class."""
    return nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, {classes}))
'''


def write_starter(name: str, *, folder: Path) -> tuple[Path, ...]:
    """Write NAME.yaml, model_NAME.py and NAME.npz into `folder`. Return their paths, the spec first.

    Raises:
        UsageError: `name` is not a valid name of a spec, or one of the files exists.
        StorageError: they cannot be written.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise UsageError(
            f"{name!r}: a name has 1 to 64 of the characters a-z, 0-9, _ and -, and begins with a letter or digit"
        )
    module = f"model_{name.replace('-', '_')}"
    spec, model, data = (folder / file for file in (f"{name}.yaml", f"{module}.py", f"{name}.npz"))
    if there := [path.name for path in (spec, model, data) if os.path.lexists(path)]:
        raise UsageError(f"{', '.join(there)}: already exists and is not overwritten; choose another NAME")
    try:
        with data.open("xb") as file:
            np.savez(file, allow_pickle=False, **_spirals())
        for path, text in ((model, _MODEL), (spec, _SPEC)):
            with path.open("x", encoding="utf-8") as written:
                written.write(text.format(name=name, module=module, classes=CLASSES))
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written: {error.strerror}") from error
    return spec, model, data


def _spirals() -> dict[str, Float64[np.ndarray, "n 2"] | Int64[np.ndarray, " n"]]:
    """Return points on three arms of a spiral, one class per arm."""
    stream = np.random.Generator(np.random.Philox(key=0))
    total = TRAIN + VALIDATION
    targets = np.arange(total) % CLASSES
    radius = stream.uniform(0.1, 1, total)
    angle = 2 * np.pi * targets / CLASSES + 3 * radius + 0.1 * stream.standard_normal(total)
    inputs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return {
        "train_inputs": inputs[:TRAIN],
        "train_targets": targets[:TRAIN],
        "validation_inputs": inputs[TRAIN:],
        "validation_targets": targets[TRAIN:],
    }
