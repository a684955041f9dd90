"""The paper's three networks: their sizes as published, their layouts, and what each layer does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tmrepro.errors import UsageError
from tmrepro.networks import build_model
from tmrepro.networks.parameters import layout_of, theta_of
from tmrepro.records import Signature
from tmrepro.spec import BatchNormSpec, CnnModel, DnnModel, Resnet50Model

DNN = DnnModel(name="dnn", kind="dnn")
CNN = CnnModel(name="cnn", kind="cnn")


def convolved(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, *, stride: int, padding: int) -> np.ndarray:
    """The definition of a convolution layer, output by output, in float64."""
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    kernel = weight.shape[2]
    side = (padded.shape[2] - kernel) // stride + 1
    result = np.empty((len(x), len(weight), side, side))
    for i in range(side):
        for j in range(side):
            patch = padded[:, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            result[:, :, i, j] = np.einsum("nchw,ochw->no", patch, weight) + bias
    return result


def test_dnn_has_404378_parameters_in_five_layers() -> None:
    layout = layout_of(build_model(DNN, signature=Signature.of_pictures(classes=10, size=32), seed=0))
    assert sum(parameter.size for parameter in layout) == 404_378
    assert [parameter.shape for parameter in layout if len(parameter.shape) > 1] == [
        (128, 3072),
        (64, 128),
        (32, 64),
        (16, 32),
        (10, 16),
    ]
    assert [parameter.shape for parameter in layout if len(parameter.shape) == 1] == [
        (128,),
        (64,),
        (32,),
        (16,),
        (10,),
    ]


def test_cnn_has_101914_parameters_in_five_convolutions() -> None:
    layout = layout_of(build_model(CNN, signature=Signature.of_pictures(classes=10, size=32), seed=0))
    assert sum(parameter.size for parameter in layout) == 101_914
    assert [parameter.shape for parameter in layout if len(parameter.shape) > 1] == [
        (128, 3, 3, 3),
        (64, 128, 3, 3),
        (32, 64, 3, 3),
        (16, 32, 3, 3),
        (10, 16, 3, 3),
    ]


def test_resnet50_has_23528522_parameters_in_stages_of_3_4_6_3_blocks() -> None:
    spec = Resnet50Model(name="r", kind="resnet50", batch_norm=BatchNormSpec(momentum=0.01, eps=1.001e-5))
    model = build_model(spec, signature=Signature.of_pictures(classes=10, size=32), seed=0)
    layout = layout_of(model)
    assert sum(parameter.size for parameter in layout) == 23_528_522
    names = [parameter.name for parameter in layout]
    blocks = [
        len({name.split(".")[1] for name in names if name.startswith(f"layer{stage}.")}) for stage in (1, 2, 3, 4)
    ]
    assert blocks == [3, 4, 6, 3]
    for name in ("layer1.2", "layer4.1"):
        assert [part for part in names if part.startswith(f"{name}.conv")] == [
            f"{name}.conv{i}.weight" for i in (1, 2, 3)
        ]
    assert layout[-2].shape == (10, 2048)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 53
    assert {(module.momentum, module.eps) for module in norms} == {(0.01, 1.001e-5)}


def test_resnet50_has_as_many_outputs_as_there_are_classes() -> None:
    model = build_model(
        Resnet50Model(name="r", kind="resnet50"), signature=Signature.of_pictures(classes=3, size=8), seed=0
    ).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 3)


def test_dnn_is_relu_after_every_layer_but_the_last() -> None:
    spec = DnnModel(name="d", kind="dnn", widths=(7, 5, 3))
    model = build_model(spec, signature=Signature.of_pictures(classes=3, size=4), seed=1)
    x = np.random.default_rng(0).normal(size=(6, 3, 4, 4))
    parts = [value.detach().numpy().astype(np.float64) for value in model.parameters()]
    hidden = x.reshape(6, -1)
    for layer in range(3):
        hidden = hidden @ parts[2 * layer].T + parts[2 * layer + 1]
        if layer < 2:
            hidden = np.maximum(hidden, 0)
    assert (hidden < 0).any()
    with torch.no_grad():
        np.testing.assert_allclose(model(torch.from_numpy(x).float()), hidden, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 1), (1, 3)])
def test_cnn_is_convolutions_relu_but_after_the_last_and_the_mean_of_each_channel(kernel: int, stride: int) -> None:
    spec = CnnModel(name="c", kind="cnn", channels=(6, 4, 3), kernel=kernel, stride=stride)
    model = build_model(spec, signature=Signature.of_pictures(classes=3, size=9), seed=1)
    x = np.random.default_rng(0).normal(size=(5, 3, 9, 9))
    parts = [value.detach().numpy().astype(np.float64) for value in model.parameters()]
    hidden = x
    for layer in range(3):
        hidden = convolved(hidden, parts[2 * layer], parts[2 * layer + 1], stride=stride, padding=kernel // 2)
        if layer < 2:
            hidden = np.maximum(hidden, 0)
    assert (hidden < 0).any()
    with torch.no_grad():
        np.testing.assert_allclose(model(torch.from_numpy(x).float()), hidden.mean((2, 3)), rtol=1e-4, atol=1e-5)


def test_a_last_layer_of_another_width_than_classes_is_refused() -> None:
    for spec in (DnnModel(name="odd", kind="dnn", widths=(8, 7)), CnnModel(name="odd", kind="cnn", channels=(4, 7))):
        with pytest.raises(UsageError, match=r"'odd'.*\[2, 7\].*expected \[2, 3\]"):
            build_model(spec, signature=Signature.of_pictures(classes=3, size=8), seed=0)


def test_a_network_is_float32_on_the_cpu() -> None:
    model = build_model(DNN, signature=Signature.of_pictures(classes=10, size=8), seed=0)
    assert {(value.dtype, value.device.type) for value in model.parameters()} == {(torch.float32, "cpu")}
    assert theta_of(model).dtype == np.float32
