"""Curvature and principal components under `portable`: the same bits with one visible core, and on an emulated processor."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.portable.interpreters import EMULATED, clean_environment

pytestmark = pytest.mark.slow

# Convolutions with batch norm, ReLU and pooling, large enough that torch splits its sums among threads.
PROGRAM = """
import hashlib
from tmrepro.numerics.determinism import Determinism, apply, prepare
prepare(Determinism("portable", 2))
apply(Determinism("portable", 2))
import torch
import tmrepro, tmrepro.directions.gaussian
from torch import nn
torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(16, 64, 3), nn.ReLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 300), nn.Tanh(), nn.Linear(300, 10),
)
images, labels = torch.randn(40, 3, 16, 16), torch.arange(40) % 10
bent = tmrepro.curvature_of(network, "cross_entropy", images, labels, probes=3, density_probes=1, basis=8, most_products=30)
theta = torch.cat([value.detach().reshape(-1) for value in network.parameters()]).numpy()
states = [theta + tmrepro.directions.gaussian.draw_stream(seed, size=theta.size) / 50 for seed in range(5)]
path = tmrepro.pca_directions(network, states)
digest = hashlib.sha256()
for array in (
    bent.eigenvalues, bent.residuals, bent.vectors, bent.trace_samples, bent.density.grid, bent.density.values,
    path.delta, path.eta, path.explained, path.coordinates,
):
    digest.update(array.tobytes())
print(bent.eigenvalues.tolist(), bent.trace, path.explained.tolist(), digest.hexdigest())
"""


def computed(before: Sequence[str]) -> str:
    done = subprocess.run(
        [*before, "-P", "-c", PROGRAM], env=clean_environment(), capture_output=True, text=True, timeout=3600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def here() -> str:
    return computed([sys.executable])


def test_one_visible_core_gives_the_same_bits(here, one_core):
    assert computed(one_core) == here


@pytest.mark.soak  # five minutes
@pytest.mark.skipif(not EMULATED, reason="no emulator (qemu-x86_64) on this machine")
def test_another_processor_gives_the_same_bits(here):
    assert computed(EMULATED) == here
