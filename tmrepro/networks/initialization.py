"""Initial weights: He, Glorot, or those that the modules drew; always from a CPU generator."""

from __future__ import annotations

from typing import Literal, assert_never

import torch
from torch import nn


def initialize(model: nn.Module, *, init: Literal["he", "glorot", "torch"], seed: int) -> None:
    """Redraw the weights of `model` in place; biases become 0, norm layers the identity.

    he: normal with variance 2 / fan-in (He et al. 2015). glorot: uniform with variance 2 / (fan-in + fan-out)
    (Glorot and Bengio 2010). torch: unchanged.
    """
    if init == "torch":
        return
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            match init:
                case "he":
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                case "glorot":
                    nn.init.xavier_uniform_(module.weight, generator=generator)
                case _:
                    assert_never(init)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.LayerNorm | nn.GroupNorm):
            if module.weight is not None:
                nn.init.ones_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
