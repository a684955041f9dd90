"""A training that was interrupted, as bytes: weights, best weights, optimizer and history in one safetensors file.

Shuffling needs no generator state (draws.py draws all that is random in an epoch from seed and epoch), so this is all there is.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

import safetensors
import safetensors.torch
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from tmrepro.records import Epoch

FORMAT = "tmrepro checkpoint 1"


class CheckpointError(ValueError):
    """The bytes are no checkpoint of this training: it starts afresh."""


@dataclass(frozen=True)
class Progress:
    """Where a training stands after an epoch.

    `seconds` counts training alone; `rejected_best` is the epoch whose point failed to be confirmed as a GM (0: none),
    so that it isn't evaluated again.
    """

    attempt: int
    seeds_collapsed: tuple[int, ...]
    history: tuple[Epoch, ...]
    best_epoch: int
    rejected_best: int
    seconds: float


_PROGRESS = TypeAdapter(Progress)


def pack(progress: Progress, *, model: nn.Module, best: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> bytes:
    """All that `unpack` needs to continue with the same bits."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items() if value is not None}
    document = json.dumps({"format": FORMAT, **dataclasses.asdict(progress)})
    # Clones, since two names of one tensor (tied weights) are more than safetensors takes.
    apart = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    return safetensors.torch.save(apart, {"progress": document})


def unpack(data: bytes, *, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Progress, dict[str, Tensor]]:
    """Put `model` and `optimizer` where they stood; return the progress and the best weights.

    Raises:
        CheckpointError: the bytes are no checkpoint of this model. (A damaged checkpoint is not trusted: start afresh.)
    """
    try:
        progress = read_progress(data)
        tensors = safetensors.torch.load(data)
        model.load_state_dict(_under("model.", tensors))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("optimizer.", tensors).items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = value
        best = _under("best.", tensors)
        if _kinds(best) != _kinds(model.state_dict()) or not _fits(state, model):
            raise CheckpointError("not a checkpoint of this model: other tensors")
        optimizer.load_state_dict({**optimizer.state_dict(), "state": _arranged(state, model)})
    except (RuntimeError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"not a checkpoint of this model: {error}") from error
    device = next(model.parameters()).device
    return progress, {name: value.to(device) for name, value in best.items()}


def read_progress(data: bytes) -> Progress:
    """The progress alone; raises CheckpointError if the bytes are no checkpoint."""
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        fields = json.loads(header["__metadata__"]["progress"])
        if fields.pop("format") != FORMAT:
            raise CheckpointError("written by another version")
        progress = _PROGRESS.validate_json(json.dumps(fields), strict=True)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"not a checkpoint: {error}") from error
    epochs = [epoch.epoch for epoch in progress.history]
    if epochs != list(range(1, len(epochs) + 1)) or not 1 <= progress.best_epoch <= len(epochs):
        raise CheckpointError("not a checkpoint: its epochs do not fit together")
    return progress


def _kinds(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size]]:
    return {name: (value.dtype, value.shape) for name, value in tensors.items()}


def _fits(state: Mapping[int, Mapping[str, Tensor]], model: nn.Module) -> bool:
    """Whether the moments of the optimizer have the shapes of the parameters that they belong to."""
    shapes = [value.shape for value in model.parameters()]
    return all(
        index < len(shapes) and all(value.ndim == 0 or value.shape == shapes[index] for value in moments.values())
        for index, moments in state.items()
    )


def _arranged(state: Mapping[int, Mapping[str, Tensor]], model: nn.Module) -> dict[int, dict[str, Tensor]]:
    """Moments in memory as their parameters are: fused optimizers go through both without a look at strides."""
    parameters = list(model.parameters())

    def like(value: Tensor, parameter: Tensor) -> Tensor:
        return torch.empty_like(parameter, dtype=value.dtype).copy_(value) if value.ndim else value

    return {
        index: {key: like(value, parameters[index].detach()) for key, value in moments.items()}
        for index, moments in state.items()
    }


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
