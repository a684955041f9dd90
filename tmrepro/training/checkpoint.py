"""An interrupted training as bytes: weights, best weights, optimizer and history in one safetensors file.

The state of random generators is not needed, because draws.py draws all random numbers of an epoch from seed and epoch.
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
    """The bytes are not a checkpoint of this training, so it must start again."""


@dataclass(frozen=True)
class Progress:
    """The state of a training after an epoch.

    `seconds` counts training alone. `rejected_best` is the epoch whose point was not confirmed as a GM (0: none), so that it
    is not evaluated again.
    """

    attempt: int
    seeds_collapsed: tuple[int, ...]
    history: tuple[Epoch, ...]
    best_epoch: int
    rejected_best: int
    seconds: float


_PROGRESS = TypeAdapter(Progress)


def pack(progress: Progress, *, model: nn.Module, best: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> bytes:
    """Return all that `unpack` needs to continue with bitwise identical results."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items() if value is not None}
    document = json.dumps({"format": FORMAT, **dataclasses.asdict(progress)})
    # Clones, since safetensors does not accept two names of one tensor (tied weights).
    apart = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    return safetensors.torch.save(apart, {"progress": document})


def unpack(data: bytes, *, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Progress, dict[str, Tensor]]:
    """Restore `model` and `optimizer`. Return the progress and the best weights.

    Raises:
        CheckpointError: the bytes are not a valid checkpoint of this model. A damaged checkpoint is not used.
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
    """Return the progress alone. Raise CheckpointError if the bytes are not a checkpoint."""
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
    """Return whether the moments of the optimizer have the shapes of their parameters."""
    shapes = [value.shape for value in model.parameters()]
    return all(
        index < len(shapes) and all(value.ndim == 0 or value.shape == shapes[index] for value in moments.values())
        for index, moments in state.items()
    )


def _arranged(state: Mapping[int, Mapping[str, Tensor]], model: nn.Module) -> dict[int, dict[str, Tensor]]:
    """Copy moments to the memory order of their parameters, because fused optimizers ignore strides."""
    parameters = list(model.parameters())

    def like(value: Tensor, parameter: Tensor) -> Tensor:
        return torch.empty_like(parameter, dtype=value.dtype).copy_(value) if value.ndim else value

    return {
        index: {key: like(value, parameters[index].detach()) for key, value in moments.items()}
        for index, moments in state.items()
    }


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
