"""What is asked of `loss_surface`, checked before anything is computed, and told in words where it doesn't fit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from tmrepro.errors import UsageError
from tmrepro.inference import EVALUATION_BATCH, Targets, image_losses
from tmrepro.parameters import Layout, split_theta
from tmrepro.spec.messages import did_you_mean

CROSS_ENTROPY: Final = "cross_entropy"
LARGEST_DISTRIBUTION_ERROR = 1e-3  # of sums of float16 probabilities

Loss = Callable[[Tensor, Tensor], Tensor] | Literal["cross_entropy"]
Vectors = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Data:
    """Inputs [n, ...] and targets on the model's device. `has_accuracy`: outputs and targets are of classes."""

    inputs: Tensor
    targets: Targets
    has_accuracy: bool


def own_model(model: object) -> nn.Module:
    """A copy of `model` in eval mode, so that nothing that happens can reach the caller's.

    Raises:
        UsageError: it is no module, has no parameters, others than float32 ones, or cannot be copied.
    """
    module = getattr(model, "_orig_mod", model)  # what torch.compile wraps
    if not isinstance(module, nn.Module):
        raise UsageError(f"model: expected a torch.nn.Module, got {_kind(model)}")
    named = dict(module.named_parameters())
    if not named:
        raise UsageError("model: has no parameters, so its loss has no landscape")
    for name, value in named.items():
        if isinstance(value, nn.parameter.UninitializedParameter):
            raise UsageError(f"model: parameter {name!r} has no shape yet; run the model on some inputs first")
        if value.dtype != torch.float32:
            raise UsageError(f"model: parameter {name!r} is {_dtype(value)}, expected float32: give model.float()")
        if not bool(torch.isfinite(value.detach()).all()):
            raise UsageError(
                f"model: parameter {name!r} has values that are not finite, so there is no point to draw around"
            )
    if len({value.device for value in named.values()}) > 1:
        raise UsageError("model: its parameters are on several devices, expected one")
    try:
        return copy.deepcopy(module).eval()
    except Exception as error:
        raise UsageError(
            f"model: cannot be copied, so as to leave yours alone ({type(error).__name__}: {error})"
        ) from error


def own_data(model: nn.Module, inputs: object, targets: object, *, loss: Any) -> Data:
    """`inputs` and `targets` as the model sees them, tried on the first of them.

    Raises:
        UsageError: no data, shapes that don't fit, labels out of range, or a model or loss that fails on them.
    """
    device = next(model.parameters()).device
    x, y = _tensor(inputs, "inputs").to(device), _tensor(targets, "targets").to(device)
    if x.is_floating_point():
        x = x.float()
    if x.ndim < 1 or len(x) == 0:
        raise UsageError(f"inputs: expected at least one input along the first axis, got shape {list(x.shape)}")
    if x.is_floating_point() and not bool(torch.isfinite(x).all()):
        raise UsageError("inputs: has values that are not finite")
    if y.ndim < 1 or len(y) != len(x):
        raise UsageError(f"targets: expected as many as inputs ({len(x)}), got shape {list(y.shape)}")
    first = min(len(x), EVALUATION_BATCH)
    outputs = _outputs(model, x[:first])
    wanted = _own_targets(y, loss) if callable(loss) else _class_targets(y, outputs, loss)
    _try_loss(outputs, wanted.part(0, first))
    has_accuracy = outputs.ndim == 2 and (wanted.loss is None or (y.ndim == 1 and not wanted.soft))
    return Data(x, wanted, has_accuracy=has_accuracy)


def own_vectors(directions: object, *, layout: Layout) -> Vectors | None:
    """Two directions [n] of the caller's own, as vectors; None where `directions` are seeds.

    Raises:
        UsageError: neither; or a direction with an unknown name, another shape, or values that are not finite.
    """
    match directions:
        case (int() | np.integer(), int() | np.integer()):
            return None
        case (delta, eta):
            return _vector(delta, "delta", layout=layout), _vector(eta, "eta", layout=layout)
        case _:
            raise UsageError(
                f"directions: expected two seeds, two dicts by parameter name, or two vectors, got {_kind(directions)}"
            )


def _vector(given: object, which: str, *, layout: Layout) -> np.ndarray:
    n = sum(parameter.size for parameter in layout)
    vector = np.zeros(n, dtype=np.float32)
    if isinstance(given, Mapping):
        parts = split_theta(vector, layout=layout)
        for name, value in given.items():
            if name not in parts:
                raise UsageError(f"directions: {which}: no parameter {name!r}{did_you_mean(name, tuple(parts))}")
            found = _tensor(value, f"directions: {which}: {name}").numpy(force=True)
            if found.shape != parts[name].shape:
                raise UsageError(
                    f"directions: {which}: {name}: expected shape {list(parts[name].shape)}, got {list(found.shape)}"
                )
            parts[name][...] = found
    else:
        found = _tensor(given, f"directions: {which}").numpy(force=True)
        if found.shape != (n,):
            raise UsageError(f"directions: {which}: expected a vector of {n} numbers, got shape {list(found.shape)}")
        vector[...] = found
    if not np.all(np.isfinite(vector)):
        raise UsageError(f"directions: {which}: has values that are not finite")
    return vector


def choice(name: str, value: object, choices: Any) -> None:
    """Nothing, if `value` is one of the words of a Literal.

    Raises:
        UsageError: it is not.
    """
    if value not in get_args(choices):
        raise UsageError(f"{name}: choose one of {', '.join(get_args(choices))} (got {value!r})")


def _outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    try:
        with torch.no_grad():
            found = model(inputs)
    except Exception as error:
        raise UsageError(
            f"model: fails on inputs of shape {list(inputs.shape)}, {_dtype(inputs)}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, Tensor):
        raise UsageError(f"model: returns {_kind(found)}, expected a tensor of outputs; wrap it in a module that does")
    if found.ndim < 1 or len(found) != len(inputs):
        raise UsageError(f"model: expected an output per input ({len(inputs)}), got shape {list(found.shape)}")
    return found


def _class_targets(targets: Tensor, outputs: Tensor, loss: object) -> Targets:
    if loss != CROSS_ENTROPY:
        raise UsageError(
            f"loss: expected 'cross_entropy' or a function (outputs, targets) -> one loss per input, got {loss!r}"
        )
    if outputs.ndim != 2:
        raise UsageError(
            f"model: cross entropy takes outputs [n, classes], got {list(outputs.shape)}; give a loss of your own instead"
        )
    classes = outputs.shape[1]
    if targets.is_floating_point():
        return Targets(_distributions(targets, classes=classes))
    if targets.ndim != 1 or targets.dtype == torch.bool:
        raise UsageError(f"targets: expected labels [n], got shape {list(targets.shape)}, {_dtype(targets)}")
    labels = targets.long()
    least, largest = int(labels.min()), int(labels.max())
    if least < 0 or largest >= classes:
        raise UsageError(
            f"targets: the model has {classes} classes, 0 to {classes - 1}; found label {min(least, 0) or largest}"
        )
    return Targets(labels)


def _distributions(targets: Tensor, *, classes: int) -> Tensor:
    if targets.ndim != 2 or targets.shape[1] != classes:
        raise UsageError(
            f"targets: expected whole numbers [n] (classes) or distributions [n, {classes}], got shape {list(targets.shape)}, "
            f"{_dtype(targets)}"
        )
    values = targets.float()
    off = float((values.double().sum(1) - 1).abs().max())
    if not (bool((values >= 0).all()) and off <= LARGEST_DISTRIBUTION_ERROR):
        raise UsageError("targets: expected distributions, each of numbers of at least 0 whose sum is 1")
    return values


def _own_targets(targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Targets:
    return Targets(targets, loss=loss)


def _try_loss(outputs: Tensor, targets: Targets) -> None:
    if targets.loss is None:
        image_losses(outputs, targets)
        return
    try:
        with torch.no_grad():
            found = targets.loss(outputs, targets.values)
    except Exception as error:
        raise UsageError(
            f"loss: fails on outputs of shape {list(outputs.shape)}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, Tensor) or found.shape != (len(outputs),):
        got = f"shape {list(found.shape)}" if isinstance(found, Tensor) else _kind(found)
        raise UsageError(
            f"loss: expected one loss per input [{len(outputs)}], got {got}; torch's need reduction='none'"
        )


def _tensor(given: object, name: str) -> Tensor:
    match given:
        case Tensor():
            found = given.detach()
        case np.ndarray():
            try:
                found = torch.from_numpy(np.ascontiguousarray(given))
            except TypeError as error:
                raise UsageError(f"{name}: {error}") from error
        case _:
            raise UsageError(
                f"{name}: expected a tensor or an array, got {_kind(given)}; the batches of a loader become one with torch.cat"
            )
    if found.is_complex():
        raise UsageError(f"{name}: expected real numbers, got {_dtype(found)}")
    return found


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
