"""In what order a network's activations lie in memory while it is trained: channels last where that is faster.

By a rule, never by timing, since the order decides bits: sums are formed otherwise. The rule was found by
benchmarks/training.py (docs/explanation/performance.md has the figures). Evaluation at theta* is contiguous whatever training
was.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tmrepro.training.draws import layers_drawing

MemoryFormat = Literal["contiguous", "channels_last"]

# What follows stands in the keys of training stages under this name: another rule is another name.
RULE = "channels last 1"
LEAST_BATCH = 128  # below, ResNet50 gains nothing that could be told from chance, or loses
LEAST_SIDE = 32  # pixels; at 16 the same

COMPARED_IMAGES = 16
# Of a norm. Two orders of summation differ by 1e-4 at most; a network that reads memory in its own order, by all of it.
AGREEMENT = 0.01


def may_be_channels_last(inputs: Tensor, *, batch_size: int) -> bool:
    """The rule's part that needs no network: pictures [n, c, h, w], large enough and enough of them, on a CPU.

    On a GPU nothing was measured, so everything stays as it was.
    """
    return (
        inputs.device.type == "cpu"
        and inputs.ndim == 4
        and min(inputs.shape[2:]) >= LEAST_SIDE
        and min(batch_size, len(inputs)) >= LEAST_BATCH
    )


def memory_format(model: nn.Module, inputs: Tensor, *, batch_size: int, seed: int) -> MemoryFormat:
    """How to train `model` on batches of `inputs`: the rule, for networks with 2-d convolutions that work so.

    Whether one does is tried on copies. A user's forward may flatten by `view`, which needs contiguous memory, or read
    memory by strides of its own.
    """
    if not may_be_channels_last(inputs, batch_size=batch_size):
        return "contiguous"
    if not any(isinstance(module, nn.Conv2d) for module in model.modules()) or _shares_memory(model):
        return "contiguous"
    return "channels_last" if _works_channels_last(model, inputs, batch_size=batch_size, seed=seed) else "contiguous"


def arranged(model: nn.Module, wanted: MemoryFormat) -> nn.Module:
    """`model` itself, its parameters of four dimensions brought to that order in memory."""
    return model.to(memory_format=torch_format(wanted))


def torch_format(wanted: MemoryFormat) -> torch.memory_format:
    """The same in torch's words."""
    return torch.channels_last if wanted == "channels_last" else torch.contiguous_format


def _shares_memory(model: nn.Module) -> bool:
    """Whether parameters under two names, not the same parameter, lie in one memory, which moving one would part."""
    values = [value for value in (*model.parameters(), *model.buffers()) if value.numel()]
    return len({value.untyped_storage().data_ptr() for value in values}) < len(values)


def _works_channels_last(model: nn.Module, inputs: Tensor, *, batch_size: int, seed: int) -> bool:
    """Whether a copy gives the same logits and gradients in eval mode, and takes both sizes of batch in train mode."""
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
    except Exception:  # noqa: BLE001 - whatever a user's network raises: it is trained as it was written
        return False
    return True


def _passed(model: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of a loss of theirs as one vector."""
    model.zero_grad(set_to_none=True)
    logits = model(inputs)
    torch.autograd.backward(functional.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.int64)))
    gradients = [value.grad.flatten() for value in model.parameters() if value.grad is not None]
    return logits.detach(), torch.cat(gradients)


def _agree(expected: tuple[Tensor, Tensor], found: tuple[Tensor, Tensor]) -> bool:
    return all(bool((one - other).norm() <= AGREEMENT * one.norm()) for one, other in zip(expected, found, strict=True))
