"""Small data of one's own, as arrays, in files and from functions, and specs that name them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest

SPEC = """\
version: 1
name: own
data: {name: arrays, file: own.npz}
models:
  - {name: mlp, kind: custom, factory: "MODULE:network", arguments: {outputs: 3}}
training: {batch_size: 20, warmup_steps: 2, max_epochs: 3}
surfaces: [{name: one, grid: {K: 3, step: 0.5}, chunk: 2}]
compute: {threads: 1}
"""

CODE = """\
import numpy as np
from torch import nn

def network(outputs, width=6):
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, outputs))

def classes(seed=0):
    stream = np.random.default_rng(seed)
    targets = np.arange(80) % 3
    inputs = stream.normal(size=(80, 4)) + targets[:, None]
    return inputs[:60], targets[:60], inputs[60:], targets[60:]
"""

_number = count()


def small_classes() -> dict[str, np.ndarray]:
    """Four columns, three classes, 60 and 20 examples."""
    stream = np.random.default_rng(3)
    targets = np.arange(80) % 3
    inputs = stream.normal(size=(80, 4)) + targets[:, None]
    return {
        "train_inputs": inputs[:60],
        "train_targets": targets[:60],
        "validation_inputs": inputs[60:],
        "validation_targets": targets[60:],
    }


def write_project(folder: Path, *changes: tuple[str, str], data: dict[str, np.ndarray], code: str = CODE) -> Path:
    """Write own.yaml, own.npz and a module of its own; returns the spec's path.

    Each has a module of another name, as if Python had been started again.
    """
    module = f"own_code_{next(_number)}"
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    np.savez(folder / "own.npz", **data)
    text = SPEC
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "own.yaml"
    path.write_text(text.replace("MODULE", module), encoding="utf-8")
    return path


@pytest.fixture
def classes() -> dict[str, np.ndarray]:
    return small_classes()


@pytest.fixture
def numbers(classes) -> dict[str, np.ndarray]:
    """The same inputs, with two numbers as targets."""
    targets = {
        f"{part}_targets": np.stack([np.sin(inputs.sum(1)), inputs[:, 0]], axis=1)
        for part in ("train", "validation")
        for inputs in [classes[f"{part}_inputs"]]
    }
    return classes | targets


@pytest.fixture
def project(tmp_path, monkeypatch, classes) -> Callable[..., Path]:
    """project(*changes, data=..., code=...): `write_project` into a folder of its own."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delenv("TMREPRO_DATA", raising=False)

    def make(*changes: tuple[str, str], data: dict[str, np.ndarray] | None = None, code: str = CODE) -> Path:
        folder = tmp_path / f"project{next(_number)}"
        folder.mkdir()
        return write_project(folder, *changes, data=classes if data is None else data, code=code)

    return make
