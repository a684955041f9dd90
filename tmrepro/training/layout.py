"""The memory order of a network's activations during training: channels last if that is faster.

A rule chooses the order, not a timing, because the order changes how sums are formed, and so the bits. The rule is based on
benchmarks/training.py (docs/explanation/performance.md has the figures). Evaluation at theta* always uses contiguous
memory.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tmrepro.training.draws import layers_drawing

MemoryFormat = Literal["contiguous", "channels_last"]

# The name of the rule below. It is in the keys of training stages, so a changed rule needs a new name.
RULE = "channels last 1"
LEAST_BATCH = 128  # for smaller batches, ResNet50 gains nothing significant, or becomes slower
LEAST_SIDE = 32  # pixels; at 16, no gain either

COMPARED_IMAGES = 16
# Of a norm. Two orders of summation differ by at most 1e-4. A network that depends on the memory order differs completely.
AGREEMENT = 0.01


def may_be_channels_last(inputs: Tensor, *, batch_size: int) -> bool:
    """Return whether inputs are images [n, c, h, w] on a CPU, large enough and enough of them. A network is not needed.

    GPUs were not measured, so the order is contiguous there.
    """
    return (
        inputs.device.type == "cpu"
        and inputs.ndim == 4
        and min(inputs.shape[2:]) >= LEAST_SIDE
        and min(batch_size, len(inputs)) >= LEAST_BATCH
    )


def memory_format(model: nn.Module, inputs: Tensor, *, batch_size: int, seed: int) -> MemoryFormat:
    """Return the memory format for training `model` on batches of `inputs`, by the rule.

    Networks with 2-d convolutions are tested on copies. A user's forward may flatten by `view`, which needs contiguous memory, or
    read memory by its own strides.
    """
    if not may_be_channels_last(inputs, batch_size=batch_size):
        return "contiguous"
    if not any(isinstance(module, nn.Conv2d) for module in model.modules()) or _shares_memory(model):
        return "contiguous"
    return "channels_last" if _works_channels_last(model, inputs, batch_size=batch_size, seed=seed) else "contiguous"


def arranged(model: nn.Module, wanted: MemoryFormat) -> nn.Module:
    """Return `model` itself, with its four-dimensional parameters in that memory order."""
    return model.to(memory_format=torch_format(wanted))


def torch_format(wanted: MemoryFormat) -> torch.memory_format:
    """Return the same format as torch's constant."""
    return torch.channels_last if wanted == "channels_last" else torch.contiguous_format


def _shares_memory(model: nn.Module) -> bool:
    """Return whether two parameters or buffers share memory, which the change of order would separate."""
    values = [value for value in (*model.parameters(), *model.buffers()) if value.numel()]
    return len({value.untyped_storage().data_ptr() for value in values}) < len(values)


def _works_channels_last(model: nn.Module, inputs: Tensor, *, batch_size: int, seed: int) -> bool:
    """Return whether a copy gives the same logits and gradients in eval mode, and accepts both batch sizes in train mode."""
    try:
        with layers_drawing(seed, 0, device=inputs.device):
            usual, moved = copy.deepcopy(model), arranged(copy.deepcopy(model), "channels_last")
            moved_inputs = inputs[:batch_size].contiguous(memory_format=torch.channels_last)
            expected = _passed(usual.eval(), inputs[:COMPARED_IMAGES])
            if not _agree(expected, _passed(moved.eval(), moved_inputs[:COMPARED_IMAGES])):
                return False
            moved.train()
            for images in {batch_size, len(inputs) % batch_size} - {0}:
                _passed(moved, moved_inputs[:images])
    except Exception:  # noqa: BLE001 - a user's network may raise anything; then it is trained in contiguous memory
        return False
    return True


def _passed(model: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits, and the gradient of a loss of them as one vector."""
    model.zero_grad(set_to_none=True)
    logits = model(inputs)
    torch.autograd.backward(functional.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.int64)))
    gradients = [value.grad.flatten() for value in model.parameters() if value.grad is not None]
    return logits.detach(), torch.cat(gradients)


def _agree(expected: tuple[Tensor, Tensor], found: tuple[Tensor, Tensor]) -> bool:
    return all(bool((one - other).norm() <= AGREEMENT * one.norm()) for one, other in zip(expected, found, strict=True))
