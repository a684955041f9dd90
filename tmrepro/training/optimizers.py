"""Optimizers and the learning rate of each step.

All optimizers are torch's fused ones. On CPUs, the square roots of the unfused Adam come from a vector library whose bits
differ between processor vendors.
"""

from __future__ import annotations

import math
from typing import assert_never

import torch
from torch import nn

from tmrepro.spec import AdamOptimizer, AdamwOptimizer, SgdOptimizer, TrainingSpec


def make_optimizer(model: nn.Module, spec: TrainingSpec) -> torch.optim.Optimizer:
    """Return the optimizer of the spec over all parameters of `model`."""
    wanted = spec.optimizer
    parameters = model.parameters()
    match wanted:
        case AdamOptimizer():
            return torch.optim.Adam(
                parameters, wanted.lr, wanted.betas, wanted.eps, weight_decay=wanted.weight_decay, fused=True
            )
        case AdamwOptimizer():
            return torch.optim.AdamW(
                parameters, wanted.lr, wanted.betas, wanted.eps, weight_decay=wanted.weight_decay, fused=True
            )
        case SgdOptimizer():
            return torch.optim.SGD(parameters, wanted.lr, wanted.momentum, weight_decay=wanted.weight_decay, fused=True)
        case _:
            assert_never(wanted)


def learning_rate(step: int, *, spec: TrainingSpec, steps_per_epoch: int) -> float:
    """Return the rate of step `step` (from 0): a linear warm-up to lr, then constant, or a cosine to 0 at max_epochs."""
    lr, warmup = spec.optimizer.lr, spec.warmup_steps
    if step < warmup:
        return lr * (step + 1) / warmup
    match spec.schedule:
        case "constant":
            return lr
        case "cosine":
            span = max(spec.max_epochs * steps_per_epoch - warmup, 1)
            return lr * 0.5 * (1 + math.cos(math.pi * min((step - warmup) / span, 1.0)))
        case _:
            assert_never(spec.schedule)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the rate of every parameter group to `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr
