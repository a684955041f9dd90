"""What is asked of `loss_surface`, checked before anything is computed, and told in words where it doesn't fit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from tmrepro.errors import UsageError
from tmrepro.inference import EVALUATION_BATCH, Targets, image_losses
from tmrepro.landscape.module import dtype_of, kind_of
from tmrepro.landscape.planes import Plane
from tmrepro.parameters import Layout, split_theta
from tmrepro.spec.messages import did_you_mean
from tmrepro.surface import Precision
from tmrepro.surface.conduct import Conduct, examine, examine_loss
from tmrepro.surface.plain import arithmetic

CROSS_ENTROPY: Final = "cross_entropy"
WHOLE: Final = "; batch='all' evaluates all inputs as one batch"
LARGEST_DISTRIBUTION_ERROR = 1e-3  # of sums of float16 probabilities
LARGEST_SEED = 2**63  # and not itself
ACCURATE = 1e-4  # how far losses of float32 outputs that mean the same may differ

Loss = Callable[[Tensor, Tensor], Tensor] | Literal["cross_entropy"]
Vectors = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Data:
    """Inputs [n, ...] and targets on the model's device, and what is known of the model as a function of them.

    `has_accuracy`: outputs and targets are of classes.
    """

    inputs: Tensor
    targets: Targets
    has_accuracy: bool
    conduct: Conduct


def own_data(
    model: nn.Module, inputs: object, targets: object, *, loss: Any, given: nn.Module, precision: Precision, whole: bool
) -> Data:
    """Copies of `inputs` and `targets` as the model sees them, tried on the first of them by a copy of `model`.

    `given` is the caller's own module; `whole`: all inputs go through it as one batch.

    Raises:
        UsageError: no data, shapes that don't fit, labels out of range, a model or loss that fails on them, or one that is no
            function of one input at a time.
    """
    device = next(model.parameters()).device
    x, y = (_tensor(value, name).to(device).clone() for value, name in ((inputs, "inputs"), (targets, "targets")))
    if x.is_floating_point():
        x = x.float()
    if x.ndim < 1 or len(x) == 0:
        raise UsageError(f"inputs: expected at least one input along the first axis, got shape {list(x.shape)}")
    if x.is_floating_point() and not bool(torch.isfinite(x).all()):
        raise UsageError("inputs: has values that are not finite")
    if y.ndim < 1 or len(y) != len(x):
        raise UsageError(f"targets: expected as many as inputs ({len(x)}), got shape {list(y.shape)}")
    first = len(x) if whole else min(len(x), EVALUATION_BATCH)
    outputs = _outputs(copy.deepcopy(model), x[:first].clone())
    wanted = Targets(y, loss=_own_loss(loss, given)) if callable(loss) else _class_targets(y, outputs, loss)
    tried = wanted.part(0, first)
    _try_loss(outputs, tried)
    conduct = examine(model, x, given=given, whole=whole, remedy=WHOLE)
    if wanted.loss is not None:
        why = examine_loss(outputs, tried, given=given, whole=whole, remedy=WHOLE)
        conduct = replace(conduct, only_plain=conduct.only_plain or why)
    if precision == "float64":
        _try_float64(model, x[:first], tried)
    return Data(x, wanted, has_accuracy=has_classes(outputs, tried), conduct=conduct)


def own_vectors(directions: object, *, layout: Layout) -> Vectors | None:
    """Two directions [n] of the caller's own, as vectors; None where `directions` are seeds.

    Raises:
        UsageError: neither; or a direction with an unknown name, another shape, or values that are not finite.
    """
    match directions:
        case (int() | np.integer(), int() | np.integer()):
            return None
        case Plane(eta=None):
            raise UsageError("directions: a line has one direction only; loss_line takes it, a surface needs two")
        case Plane(delta=delta, eta=eta):
            return _vector(delta, "directions: delta", layout=layout), _vector(eta, "directions: eta", layout=layout)
        case (delta, eta):
            return _vector(delta, "directions: delta", layout=layout), _vector(eta, "directions: eta", layout=layout)
        case _:
            raise UsageError(
                "directions: expected two seeds, or two directions, each a dict by parameter name, a list of tensors, one a "
                f"parameter, or a vector, got {kind_of(directions)}"
            )


def own_vector(direction: object, *, layout: Layout) -> int | np.ndarray:
    """One direction [n] of the caller's own as a vector, or a seed.

    Raises:
        UsageError: see `own_vectors`.
    """
    match direction:
        case bool() | None:
            raise UsageError(f"direction: expected a seed or a direction of your own, got {direction!r}")
        case int() | np.integer():
            if not 0 <= direction < LARGEST_SEED:
                raise UsageError(f"direction: expected a seed of at least 0, below 2^63, got {direction}")
            return int(direction)
        case Plane(delta=delta):
            return _vector(delta, "direction", layout=layout)
        case _:
            return _vector(direction, "direction", layout=layout)


def _vector(given: object, which: str, *, layout: Layout) -> np.ndarray:
    n = sum(parameter.size for parameter in layout)
    vector = np.zeros(n, dtype=np.float32)
    if isinstance(given, list | tuple):
        if len(given) != len(layout):
            raise UsageError(f"{which}: expected a tensor per parameter ({len(layout)}), got {len(given)}")
        given = {parameter.name: value for parameter, value in zip(layout, given, strict=True)}
    if isinstance(given, Mapping):
        parts = split_theta(vector, layout=layout)
        for name, value in given.items():
            if name not in parts:
                raise UsageError(f"{which}: no parameter {name!r}{did_you_mean(name, tuple(parts))}")
            found = _tensor(value, f"{which}: {name}").numpy(force=True)
            if found.shape != parts[name].shape:
                raise UsageError(f"{which}: {name}: expected shape {list(parts[name].shape)}, got {list(found.shape)}")
            parts[name][...] = found
    else:
        found = _tensor(given, f"{which}").numpy(force=True)
        if found.shape != (n,):
            raise UsageError(f"{which}: expected a vector of {n} numbers, got shape {list(found.shape)}")
        vector[...] = found
    if not np.all(np.isfinite(vector)):
        raise UsageError(f"{which}: has values that are not finite")
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
            f"model: fails on inputs of shape {list(inputs.shape)}, {dtype_of(inputs)}: {type(error).__name__}: {error}. Inputs "
            f"come in batches of {EVALUATION_BATCH}; batch='all' is for a network that takes all of them at once"
        ) from error
    if not isinstance(found, Tensor):
        raise UsageError(
            f"model: returns {kind_of(found)}, expected a tensor of outputs; wrap it in a module that does"
        )
    if found.ndim < 1 or len(found) != len(inputs):
        raise UsageError(f"model: expected an output per input ({len(inputs)}), got shape {list(found.shape)}")
    return found


def has_classes(outputs: Tensor, targets: Targets) -> bool:
    """Whether the largest of an input's outputs [n, classes] is a class that a target [n] could name.

    A loss of the caller's own says so by its values: it takes outputs as classes if it stays the same when a number is added to
    all outputs of an input (losses of softmax and of margins), or when outputs and classes change places together.
    """
    values, loss = targets.values, targets.loss
    if loss is None:
        return True
    if outputs.ndim != 2 or outputs.shape[1] < 2 or values.ndim != 1 or values.dtype == torch.bool or targets.soft:
        return False
    classes = outputs.shape[1]
    if bool(((values < 0) | (values >= classes)).any()):
        return False
    with torch.no_grad():
        found = image_losses(outputs, targets)
        shifted = image_losses(outputs + 1, targets)
        turned = image_losses(outputs.roll(1, 1), replace(targets, values=(values + 1) % classes))
    within = ACCURATE * (1 + found.abs())
    return any(bool(((other - found).abs() <= within).all()) for other in (shifted, turned))


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
        raise UsageError(f"targets: expected labels [n], got shape {list(targets.shape)}, {dtype_of(targets)}")
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
            f"{dtype_of(targets)}"
        )
    values = targets.float()
    off = float((values.double().sum(1) - 1).abs().max())
    if not (bool((values >= 0).all()) and off <= LARGEST_DISTRIBUTION_ERROR):
        raise UsageError("targets: expected distributions, each of numbers of at least 0 whose sum is 1")
    return values


def _own_loss(loss: Callable[[Tensor, Tensor], Tensor], given: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """A copy of a loss that is a module, whose buffers may change; the parameters of `given` stay what they are in it."""
    if not isinstance(loss, nn.Module):
        return loss
    return copy.deepcopy(loss, {id(value): value for value in given.parameters()})


def _try_float64(model: nn.Module, inputs: Tensor, targets: Targets) -> None:
    """Raise UsageError if the model or the loss can't be evaluated in float64."""
    wide = copy.deepcopy(model).double()
    what = "model"
    try:
        with torch.no_grad(), arithmetic("float64", inputs.device):
            outputs = wide(inputs.double() if inputs.is_floating_point() else inputs.clone())
            what = "loss"
            image_losses(outputs, targets.widened())
    except Exception as error:
        raise UsageError(
            f"precision: float64: the {what} fails in it: {type(error).__name__}: {error}. Tensors that it makes or keeps must "
            "have the dtype of what it is given; or choose float32"
        ) from error


def _try_loss(outputs: Tensor, targets: Targets) -> None:
    if targets.loss is None:
        image_losses(outputs, targets)
        return
    try:
        with torch.no_grad():
            found = targets.loss(outputs.clone(), targets.values.clone())
    except Exception as error:
        raise UsageError(
            f"loss: fails on outputs of shape {list(outputs.shape)}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, Tensor) or found.shape != (len(outputs),):
        got = f"shape {list(found.shape)}" if isinstance(found, Tensor) else kind_of(found)
        raise UsageError(
            f"loss: expected one loss per input [{len(outputs)}], got {got}; torch's need reduction='none'"
        )


def _tensor(given: object, name: str) -> Tensor:
    match given:
        case Tensor():
            found = given.detach()
        case np.ndarray():
            try:
                # A copy that is torch's to change, in the byte order of the machine.
                found = torch.from_numpy(np.array(given, dtype=given.dtype.newbyteorder("="), order="C"))
            except (TypeError, ValueError) as error:
                raise UsageError(f"{name}: {error}") from error
        case _:
            hint = "; the batches of a loader become one with torch.cat" if name in {"inputs", "targets"} else ""
            raise UsageError(f"{name}: expected a tensor or an array, got {kind_of(given)}{hint}")
    if found.layout is not torch.strided or found.is_nested or found.is_quantized:
        raise UsageError(
            f"{name}: expected a dense tensor, got a sparse, nested or quantized one; to_dense() gives one"
        )
    if found.is_meta:
        raise UsageError(f"{name}: is on the meta device, which holds no values")
    if found.is_complex():
        raise UsageError(f"{name}: expected real numbers, got {dtype_of(found)}")
    return found
