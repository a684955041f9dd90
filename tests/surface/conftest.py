"""What the tests of surfaces share: small networks at a point that is not a minimum, and directions of unequal norm."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tmrepro.directions.gaussian import DirectionPair
from tmrepro.networks import build_model
from tmrepro.networks.networks import residual_network
from tmrepro.networks.parameters import theta_of
from tmrepro.numerics.inference import Targets
from tmrepro.records import Direction, Signature
from tmrepro.spec import CnnModel, DnnModel
from tmrepro.surface import Problem
from tmrepro.surface.gpu import gpu_kernels
from tmrepro.surface.gpu.fused_layers import round_tf32

CLASSES = 3


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Everything here is small."""


@pytest.fixture
def network() -> Callable[[str], nn.Module]:
    """dnn, cnn or normed (batch norm with statistics of its own), in eval mode, for images of 3 x 6 x 6."""

    def build(kind: str) -> nn.Module:
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

    return build


@pytest.fixture
def images() -> Callable[[int], torch.Tensor]:
    """n images of 3 x 6 x 6."""
    return lambda n: torch.randn(n, 3, 6, 6, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def problem(images: Callable[[int], torch.Tensor]) -> Callable[..., Problem]:
    """A problem around a model: delta and eta of norms 2 and 0.5, and 150 images, which are two batches."""

    def of(model: nn.Module, *, targets: Targets | None = None, precision: Any = "float64", n: int = 150) -> Problem:
        size = theta_of(model).size
        draws = np.random.default_rng(3).normal(size=(2, size))
        draws *= np.array([[2.0], [0.5]]) / np.linalg.norm(draws, axis=1, keepdims=True)
        delta, eta = draws.astype(np.float32)
        facts = Direction(seed=0, sha256="", norm=1.0)
        if targets is None:
            targets = Targets(torch.arange(n) % CLASSES)
        return Problem(model, DirectionPair(delta, eta, facts, facts, 0.0), images(n), targets, precision)

    return of


def layer_in_torch(
    x: Tensor,
    weights: Tensor,
    bias: Tensor,
    *,
    addend: Tensor | None = None,
    second: Tensor | None = None,
    taps: Tensor,
    counts: Tensor,
    relu: bool,
    tf32: bool,
) -> Tensor:
    """What `gpu_kernels.apply_layer` says of itself."""
    (C, _, N), O = x.shape, len(bias)  # noqa: E741 - the kernel's names
    assert N % gpu_kernels.IMAGES == 0
    assert weights.shape[1] == gpu_kernels.columns_of(O)
    assert not weights[:, O:].any()
    out = torch.empty(O, len(counts), N, device=x.device)
    for q, count in enumerate(counts.tolist()):
        total = bias.double()[:, None].repeat(1, N)
        for t, (place, tap) in enumerate(taps[q, :count].tolist()):
            read = x if second is None or t < count - 1 else second
            total += weights[tap * C : tap * C + len(read), :O].double().T @ read[:, place].double()
        out[:, q] = total if addend is None else total + addend[:, q]
    out = out.relu_() if relu else out
    if tf32:
        round_tf32(out)
    return out


def largest_in_torch(x: Tensor, taps: Tensor, counts: Tensor) -> Tensor:
    """What `gpu_kernels.take_largest` says of itself."""
    each = [x[:, taps[q, :count, 0].long()].amax(1) for q, count in enumerate(counts.tolist())]
    return torch.stack(each, 1)


@pytest.fixture(scope="session")
def kernels_in_torch() -> SimpleNamespace:
    """What the kernels of a GPU say of themselves, as functions."""
    return SimpleNamespace(layer=layer_in_torch, largest=largest_in_torch)


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    """ResNet50 for images of 3 x 32 x 32, with statistics of its own, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = residual_network(4, momentum=0.5, eps=1e-5)
        with torch.no_grad():
            for _ in range(4):
                model(torch.randn(16, 3, 32, 32))
    return model.eval()
