"""A training that was interrupted, as bytes: weights, best weights, optimizer and history in one safetensors file.

Shuffling needs no generator state (loop.py draws the order of an epoch from seed and epoch), so this is all there is.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from tmrepro.records import Epoch

FORMAT = "tmrepro checkpoint 1"


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


def pack(progress: Progress, *, model: nn.Module, best: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> bytes:
    """All that `unpack` needs to continue with the same bits."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items() if value is not None}
    document = json.dumps({"format": FORMAT, **dataclasses.asdict(progress)})
    return safetensors.torch.save(
        {name: value.detach().cpu().contiguous() for name, value in tensors.items()}, {"progress": document}
    )


def unpack(data: bytes, *, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Progress, dict[str, Tensor]]:
    """Put `model` and `optimizer` where they stood; return the progress and the best weights.

    Raises:
        ValueError: the bytes are no checkpoint of this model. (A damaged checkpoint is not trusted: start afresh.)
    """
    try:
        progress = read_progress(data)
        tensors = safetensors.torch.load(data)
        model.load_state_dict(_under("model.", tensors))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("optimizer.", tensors).items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    except (RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"not a checkpoint of this model: {error}") from error
    device = next(model.parameters()).device
    return progress, {name: value.to(device) for name, value in _under("best.", tensors).items()}


def read_progress(data: bytes) -> Progress:
    """The progress alone; raises ValueError if the bytes are no checkpoint."""
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        fields = json.loads(header["__metadata__"]["progress"])
        if fields.pop("format") != FORMAT:
            raise ValueError("written by another version")
        fields["history"] = tuple(Epoch(**row) for row in fields["history"])
        fields["seeds_collapsed"] = tuple(fields["seeds_collapsed"])
        return Progress(**fields)
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"not a checkpoint: {error}") from error


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
