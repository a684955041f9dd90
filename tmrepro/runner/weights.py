"""models/NAME/theta.safetensors: the weights of a network at theta*, saved, loaded and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped
from torch import nn

from tmrepro.errors import DamagedError
from tmrepro.networks import build_model
from tmrepro.records import Signature
from tmrepro.spec import ModelSpec, TrainedModel, parameter_count
from tmrepro.store.atomic import remove, safe_path, shown
from tmrepro.store.run_files import THETA, model_file
from tmrepro.store.tensors import count_numbers, load_tensors, save_tensors


def save_theta(run: Path, model: str, tensors: Mapping[str, Shaped[np.ndarray, "*_"]], *, work: Path) -> str:
    """Write the weights of `model`, by parameter name. Return the path relative to `run`."""
    relative = model_file(model, THETA)
    save_tensors(run / relative, tensors, work=work)
    return relative


def remove_theta(run: Path, model: str) -> None:
    """Remove the weights of `model`, if there are any."""
    remove(run / model_file(model, THETA))


def load_theta(run: Path, model: TrainedModel, *, signature: Signature) -> nn.Module:
    """Return a model of a run at theta*, in eval mode, on the CPU.

    Raises:
        DamagedError: theta.safetensors is missing or does not fit the model.
    """
    relative = model_file(model.name, THETA)
    path = safe_path(run, relative)
    # Check before building: a few bytes of an untrusted spec can request gigabytes of parameters.
    least, found = _least_parameters(model.spec, signature), count_numbers(path, name=relative)
    if least is not None and found < least:
        raise DamagedError(f"{relative}: expected {least} parameters of this model, found {found} numbers")
    module = build_model(model.spec, signature=signature, seed=0)
    expected = module.state_dict()
    content = sum(value.numel() * value.element_size() for value in expected.values())
    tensors = load_tensors(path, limit_bytes=content, name=relative)
    if names := sorted(set(tensors) ^ set(expected)):
        raise DamagedError(f"{relative}: missing or unexpected parameter {shown(names[0])}")
    given = {key: torch.from_numpy(value) for key, value in tensors.items()}
    for key, value in expected.items():
        wanted, stored = ((tensor.dtype, list(tensor.shape)) for tensor in (value, given[key]))
        if wanted != stored:
            raise DamagedError(f"{relative}: {key}: expected {wanted[0]} {wanted[1]}, found {stored[0]} {stored[1]}")
    module.load_state_dict(given)
    return module.eval()


def _least_parameters(spec: ModelSpec, signature: Signature) -> int | None:
    """Return the number of parameters of a network of the paper; None if it is unknown."""
    if signature.side is None or len(signature.outputs) != 1:
        return None
    return parameter_count(spec, size=signature.side, classes=signature.outputs[0])
