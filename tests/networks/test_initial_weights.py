"""Initial weights: distributions of He and Glorot, the same bits for a seed, and no trace in the global random state."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from tmrepro.networks import build_model
from tmrepro.networks.initialization import initialize
from tmrepro.networks.parameters import theta_of
from tmrepro.records import Signature
from tmrepro.spec import CnnModel, DnnModel, Resnet50Model

Init = Literal["he", "glorot", "torch"]


def weights(init: Init) -> dict[str, np.ndarray]:
    """A matrix of 300 x 192 and a kernel of 64 x 32 x 3 x 3: fans that differ, and enough numbers for statistics."""
    dense = build_model(
        DnnModel(name="d", kind="dnn", widths=(300, 5), init=init),
        signature=Signature.of_pictures(classes=5, size=8),
        seed=3,
    )
    convolution = CnnModel(name="c", kind="cnn", channels=(32, 64, 5), init=init)
    kernels = build_model(convolution, signature=Signature.of_pictures(classes=5, size=8), seed=3)
    return {
        "matrix": dense[1].weight.detach().double().numpy(),
        "kernel": kernels[2].weight.detach().double().numpy(),
        "bias": dense[1].bias.detach().double().numpy(),
    }


def within(found: float, expected: float, *, spread: float) -> bool:
    """Five standard errors: the chance that a right sampler fails is below one in a million; and the seed is fixed."""
    return abs(found - expected) <= 5 * spread


def test_he_is_normal_with_variance_two_over_fan_in() -> None:
    found = weights("he")
    for name, fan_in in (("matrix", 192), ("kernel", 32 * 9)):
        values = found[name].ravel() / math.sqrt(2 / fan_in)
        n = values.size
        assert within(values.mean(), 0, spread=1 / math.sqrt(n))
        assert within((values**2).mean(), 1, spread=math.sqrt(2 / n))
        assert within((values**4).mean(), 3, spread=math.sqrt(96 / n))  # a normal's fourth moment
    assert not found["bias"].any()


def test_glorot_is_uniform_with_variance_two_over_both_fans() -> None:
    found = weights("glorot")
    for name, fans in (("matrix", 192 + 300), ("kernel", (32 + 64) * 9)):
        values = found[name].ravel() / math.sqrt(6 / fans)
        n = values.size
        assert np.abs(values).max() <= 1 + 1e-6
        assert np.abs(values).max() >= 0.999
        assert within(values.mean(), 0, spread=math.sqrt(1 / 3 / n))
        assert within((values**2).mean(), 1 / 3, spread=math.sqrt((1 / 5 - 1 / 9) / n))
    assert not found["bias"].any()


def test_torch_is_what_the_modules_draw_themselves_after_a_seed() -> None:
    spec = DnnModel(name="d", kind="dnn", widths=(6, 5), init="torch")
    model = build_model(spec, signature=Signature.of_pictures(classes=5, size=8), seed=11)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        expected = [nn.Linear(192, 6), nn.Linear(6, 5)]
    assert torch.equal(model[1].weight, expected[0].weight)
    assert torch.equal(model[3].bias, expected[1].bias)
    assert expected[1].bias.abs().min() > 0


@pytest.mark.parametrize("init", ["he", "glorot", "torch"])
def test_a_seed_gives_the_same_bits_whatever_the_global_state_and_another_seed_others(init: Init) -> None:
    spec = CnnModel(name="c", kind="cnn", channels=(6, 5), init=init)
    found = []
    for global_seed, seed in ((1, 4), (2, 4), (2, 5)):
        torch.manual_seed(global_seed)
        found.append(
            theta_of(build_model(spec, signature=Signature.of_pictures(classes=5, size=8), seed=seed)).tobytes()
        )
    assert found[0] == found[1]
    assert found[1] != found[2]


def test_the_name_does_not_enter_the_weights() -> None:
    one, other = (
        theta_of(
            build_model(
                DnnModel(name=name, kind="dnn", widths=(6, 5)),
                signature=Signature.of_pictures(classes=5, size=8),
                seed=0,
            )
        ).tobytes()
        for name in ("one", "other")
    )
    assert one == other


@pytest.mark.parametrize("init", ["he", "glorot", "torch"])
def test_building_leaves_the_global_random_state_as_it_was(init: Init) -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    build_model(
        CnnModel(name="c", kind="cnn", channels=(6, 3), init=init),
        signature=Signature.of_pictures(classes=3, size=8),
        seed=9,
    )
    assert torch.equal(torch.get_rng_state(), before)


def test_norm_layers_become_the_identity_and_those_without_weights_are_left() -> None:
    model = nn.Sequential(
        nn.BatchNorm2d(4),
        nn.GroupNorm(2, 4),
        nn.LayerNorm(5),
        nn.BatchNorm1d(3, affine=False),
        nn.Linear(2, 2, bias=False),
    )
    with torch.no_grad():
        for value in model.parameters():
            value.fill_(7)
    initialize(model, init="he", seed=0)
    for layer in model[:3]:
        assert (layer.weight == 1).all()
        assert (layer.bias == 0).all()
    assert (model[4].weight != 7).all()


def test_resnet50_starts_with_he_convolutions_and_identity_norms() -> None:
    model = build_model(
        Resnet50Model(name="r", kind="resnet50"), signature=Signature.of_pictures(classes=10, size=8), seed=0
    )
    kernel = model.get_parameter("layer3.0.conv2.weight").detach().double()
    assert float(kernel.var() * 256 * 9 / 2) == pytest.approx(1, abs=5 * math.sqrt(2 / kernel.numel()))
    assert (model.get_parameter("layer3.0.bn2.weight") == 1).all()
    assert (model.get_parameter("fc.bias") == 0).all()
