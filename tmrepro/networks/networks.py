"""The paper's three networks (section 3.1). Each maps inputs [n, 3, size, size] to logits [n, classes]."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

IMAGE_CHANNELS = 3


def dense_network(widths: Sequence[int], *, size: int) -> nn.Sequential:
    """Return fully connected layers of `widths` nodes, with ReLU after each but the last (the paper's DNN)."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise([IMAGE_CHANNELS * size * size, *widths]):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolutional_network(channels: Sequence[int], *, kernel: int, stride: int) -> nn.Sequential:
    """Return convolutions of `channels`, with ReLU after each but the last, then the mean of each last channel (the CNN).

    The paper does not say padding, stride, or how ten channels become ten logits. "Same" padding for odd kernels, one
    stride for all layers, and global averaging are our choices.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise([IMAGE_CHANNELS, *channels]):
        layers += [nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2), nn.ReLU()]
    return nn.Sequential(*layers[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten())


def residual_network(classes: int, *, momentum: float, eps: float) -> nn.Module:
    """Return ResNet50 (He et al. 2016): stem, stages of 3, 4, 6, 3 blocks of three convolutions, pooling, fully connected.

    `momentum` and `eps` are those of batch norm, in torch's convention (momentum 0.01 is 0.99 in Keras).
    """
    from torchvision.models import resnet50  # also loads torch's compiler, which takes a second

    network: nn.Module = resnet50(weights=None, num_classes=classes)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = momentum
            module.eps = eps
    return network
