"""Interpreters that compute as other machines would, and a training that shows whether they do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tmrepro.numerics.determinism import FOREIGN

# Convolutions of every shape that residual networks have, with batch norm, at the least batch that is trained channels last.
CHANNELS_LAST = """
import hashlib
from tmrepro.numerics.determinism import Determinism, apply, prepare
prepare(Determinism("portable", 2))
apply(Determinism("portable", 2))
import torch
from torch import nn
from tmrepro.spec import StopSpec, TrainingSpec
from tmrepro.training import Examples, train

def build(seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 7, stride=4, padding=3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
        nn.Conv2d(24, 24, 3, padding=1, groups=3), nn.BatchNorm2d(24), nn.ReLU(),
        nn.Conv2d(24, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )

inputs = torch.randn(140, 3, 32, 32, generator=torch.Generator().manual_seed(5))
labels = torch.arange(140) % 10
spec = TrainingSpec(batch_size=128, max_epochs=1, warmup_steps=0, reseeds=0, stop=StopSpec(at="never"))
trained = train(spec, build=build, examples=Examples(inputs, labels, inputs[:8], labels[:8], 10), seed=1)
digest = hashlib.sha256()
for value in trained.model.state_dict().values():
    digest.update(value.numpy().tobytes())
print(trained.memory_format, digest.hexdigest(), trained.history.train_losses.tolist())
"""


def _emulated() -> list[str]:
    """An interpreter on an Intel Haswell, which has AVX2 and no AVX-512, whatever this machine is; [] without an emulator.

    The emulator runs the interpreter itself, not the link in the virtual environment, but Python must think it is the link.
    """
    qemu = shutil.which("qemu-x86_64")
    if qemu is None:
        return []
    return [qemu, "-cpu", "Haswell-noTSX", "-0", sys.executable, str(Path(sys.executable).resolve())]


EMULATED = _emulated()


def clean_environment() -> dict[str, str]:
    """The environment without what conftest set for this process: a command must find its own settings."""
    return {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}


def train_channels_last(before: Sequence[str]) -> str:
    """Train with an interpreter and all before it. Return the layout, the hash of theta* and the losses as a line of text."""
    done = subprocess.run(
        [*before, "-P", "-c", CHANNELS_LAST], env=clean_environment(), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
