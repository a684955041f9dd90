"""Checks the arguments of `loss_surface` before anything is computed."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, get_args

import torch
from torch import Tensor, nn

from tmrepro.errors import UsageError
from tmrepro.landscape.adapter import Adapted, Output, adapted, words_of
from tmrepro.landscape.batches import Given, read_data
from tmrepro.landscape.losses import Kind, kind_of_loss, torch_targets, torchs_own
from tmrepro.landscape.module import dtype_of, kind_of, lifted
from tmrepro.landscape.tensors import require_finite
from tmrepro.landscape.totals import TotalLoss, is_total, total_targets
from tmrepro.numerics.inference import EVALUATION_BATCH, Targets, image_losses
from tmrepro.surface import Precision
from tmrepro.surface.conduct import Conduct, examine, examine_loss
from tmrepro.surface.plain import arithmetic
from tmrepro.surface.watch import Watch, require_apart

WHOLE: Final = "; batch='all' evaluates all inputs as one batch"
ACCURATE = 1e-4  # tolerance for losses of float32 outputs that should be equal


@dataclass(frozen=True)
class Data:
    """The network for evaluators, its inputs [n, ...] and targets on its device, and its known behaviour as a function.

    `has_accuracy`: outputs and targets are classes. `kind`: the name of the loss.
    """

    model: nn.Module
    inputs: Tensor
    targets: Targets
    has_accuracy: bool
    conduct: Conduct
    kind: Kind


@dataclass(frozen=True)
class Asked:
    """The arguments loss, data and output of `loss_surface`, not yet checked."""

    loss: Any
    inputs: Any
    targets: Any
    output: Output


def own_data(model: nn.Module, asked: Asked, *, given: nn.Module, precision: Precision, whole: bool) -> Data:
    """Return a copy of the data as used by the model, after testing a copy of `model` on the first inputs.

    `given` is the caller's own module. `whole`: all inputs are one batch.

    Raises:
        UsageError: there are no data, shapes do not fit, labels are out of range, the model or loss fails on the data, or
            it is not a function of one input at a time.
    """
    parameter = next(model.parameters())
    module = torchs_own(asked.loss)
    data = read_data(asked.inputs, asked.targets).moved(parameter.device, parameter.dtype)
    for index, column in enumerate(data.columns):
        require_finite(column, data.label(index))
    require_finite(data.targets, "targets")
    network, x = adapted(model, data, asked.output)
    first = len(x) if whole else min(len(x), EVALUATION_BATCH)
    is_lifted = any(value.dtype != parameter.dtype for value in given.parameters())
    tested = copy.deepcopy(network)
    with Watch(tested) as watch:
        outputs = _outputs(tested, x[:first].clone(), data, is_lifted=is_lifted)
    conduct = _conduct(network, x, given=given, is_lifted=is_lifted, whole=whole, earlier=watch)
    if module is not None:
        if outputs.is_complex():
            raise UsageError(
                f"model: gives {dtype_of(outputs)} outputs, which only a loss function of your own can use"
            )
        wanted = torch_targets(asked.loss, module, outputs, data.targets)
        _try_targets(outputs, wanted)
    else:
        wanted = _own_targets(_own_loss(asked.loss, given), outputs, data.targets, network=network, x=x, whole=whole)
        batched = whole or isinstance(wanted.loss, TotalLoss)
        why = examine_loss(outputs, wanted.part(0, first), given=given, whole=batched, remedy=WHOLE)
        if isinstance(wanted.loss, TotalLoss):
            why = why or "the loss gives the total of a batch"
        conduct = replace(conduct, only_plain=conduct.only_plain or why)
    if isinstance(network, Adapted) and network.given is not None:
        conduct = replace(
            conduct, only_plain=conduct.only_plain or "the network gets arguments by name or several of them"
        )
    tried = wanted.part(0, first)
    if precision == "float64":
        _try_float64(network, x[:first], tried)
    return Data(network, x, wanted, has_classes(outputs, wanted), conduct, kind_of_loss(module, wanted))


def choice(name: str, value: object, choices: Any) -> None:
    """Raise UsageError unless `value` is one of the choices of a Literal.

    Raises:
        UsageError: it is not.
    """
    if value not in get_args(choices):
        raise UsageError(f"{name}: choose one of {', '.join(get_args(choices))} (got {value!r})")


def _conduct(
    network: nn.Module, x: Tensor, *, given: nn.Module, is_lifted: bool, whole: bool, earlier: Watch
) -> Conduct:
    """Return how the network behaves. Its calls must reach neither `given` nor the module that it was copied from."""
    require_apart(earlier, given, name="model")
    twin = lifted(copy.deepcopy(given)) if is_lifted else given
    seen = Adapted(twin, network.selection, network.given) if isinstance(network, Adapted) else twin
    return examine(network, x, given=seen, whole=whole, remedy=WHOLE, earlier=[earlier])


def _outputs(model: nn.Module, inputs: Tensor, data: Given, *, is_lifted: bool) -> Tensor:
    try:
        with torch.no_grad():
            found = model(inputs)
    except UsageError:
        raise
    except Exception as error:
        shapes = [
            f"{'' if data.names is None else f'{data.names[index]} '}{[len(inputs), *column.shape[1:]]}, {dtype_of(column)}"
            for index, column in enumerate(data.columns)
        ]
        wide = ". All parameters have one dtype here, which its forward must accept" if is_lifted else ""
        raise UsageError(
            f"model: fails on inputs of shape {'; '.join(shapes)}: {type(error).__name__}: {error}{wide}. Inputs "
            f"come in batches of {EVALUATION_BATCH}; batch='all' is for a network that takes all of them at once"
        ) from error
    if not isinstance(found, Tensor):
        raise UsageError(
            f"model: returns {kind_of(found)}, expected a tensor of outputs: {words_of(found)}; choose one with output="
        )
    if found.ndim < 1 or len(found) != len(inputs):
        raise UsageError(f"model: expected an output per input ({len(inputs)}), got shape {list(found.shape)}")
    return found


def has_classes(outputs: Tensor, targets: Targets) -> bool:
    """Return whether the arg-max of an input's outputs [first, classes] is a class, as in every target [n].

    A caller's loss is tested by its values. It uses outputs as classes if it does not change when a number is added to all
    outputs of an input (losses of softmax and of margins), or when outputs and classes are permuted together.
    """
    values, loss = targets.values, targets.loss
    if loss is None:
        return True
    if outputs.ndim != 2 or outputs.shape[1] < 2 or values.ndim != 1 or values.dtype == torch.bool or targets.soft:
        return False
    classes = outputs.shape[1]
    if bool(((values < 0) | (values >= classes)).any()) or _ignores(loss, values):
        return False
    tried = targets.part(0, len(outputs))
    with torch.no_grad():
        found = image_losses(outputs, tried)
        shifted = image_losses(outputs + 1, tried)
        turned = image_losses(outputs.roll(1, 1), replace(tried, values=(tried.values + 1) % classes))
    within = ACCURATE * (1 + found.abs())
    return any(bool(((other - found).abs() <= within).all()) for other in (shifted, turned))


def _ignores(loss: Any, labels: Tensor) -> bool:
    ignored = getattr(getattr(loss, "loss", None), "ignore_index", None)
    return ignored is not None and bool((labels == ignored).any())


def _own_loss(loss: Any, given: nn.Module) -> Any:
    """Return a copy of a loss that is a module, because its buffers may change. It shares the parameters of `given`."""
    if not isinstance(loss, nn.Module):
        return loss
    return copy.deepcopy(loss, {id(value): value for value in given.parameters()})


def _try_float64(model: nn.Module, inputs: Tensor, targets: Targets) -> None:
    """Raise UsageError if the model or the loss cannot be evaluated in float64."""
    wide = copy.deepcopy(model).double()
    what = "model"
    try:
        with torch.no_grad(), arithmetic("float64", inputs.device):
            outputs = wide(inputs.double() if inputs.is_floating_point() else inputs.clone())
            what = "loss"
            image_losses(outputs, targets.widened())
    except Exception as error:
        raise UsageError(
            f"precision: float64: the {what} fails: {type(error).__name__}: {error}. Tensors that it creates or stores must "
            "have the dtype of its inputs; or choose float32"
        ) from error


def _own_targets(loss: Any, outputs: Tensor, targets: Tensor, *, network: nn.Module, x: Tensor, whole: bool) -> Targets:
    """Return all `targets` [n, ...] with a caller's function, whose results for the first `outputs` are checked."""
    first = Targets(targets[: len(outputs)], loss=loss)
    found = _called(outputs, first)
    if not is_total(found):
        _check_losses(found, outputs, first, whole=whole)
        return Targets(targets, loss=loss, one=whole and isinstance(found, Tensor) and found.ndim == 0)
    if whole:
        return Targets(targets, loss=partial(_ratio, loss), one=True)
    return total_targets(loss, targets, copy.deepcopy(network), x)


def _ratio(loss: Any, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss of a batch that contains all inputs."""
    total, count = loss(outputs, targets)
    return torch.as_tensor(total).double().reshape(()) / torch.as_tensor(count).double().reshape(())


def _try_targets(outputs: Tensor, targets: Targets) -> None:
    """Raise UsageError if a loss of torch fails on any of the targets [n, ...], such as labels of margins or shares above 1."""
    if targets.loss is not None:
        for begin in range(0, len(targets.values), len(outputs)):
            some = targets.part(begin, begin + len(outputs))
            _called(outputs[: len(some.values)], some)


def _called(outputs: Tensor, targets: Targets) -> Any:
    assert targets.loss is not None  # noqa: S101 - the callers ensure it
    try:
        with torch.no_grad():
            return targets.loss(outputs.clone(), targets.values.clone())
    except Exception as error:
        raise UsageError(
            f"loss: fails on outputs of shape {list(outputs.shape)}: {type(error).__name__}: {error}"
        ) from error


def _check_losses(found: object, outputs: Tensor, targets: Targets, *, whole: bool) -> None:
    """Raise UsageError unless a loss returned one number or several per input; or one for all, if all are one batch."""
    n = len(outputs)
    if not isinstance(found, Tensor):
        raise UsageError(f"loss: expected one loss per input [{n}, ...], or (total, count), got {kind_of(found)}")
    if found.ndim == 0 and not whole:
        raise UsageError(
            f"loss: gives a single number for a batch of {n}, which is not enough for other batch sizes; expected one loss "
            f"per input [{n}, ...] (torch's reduction='none'), or (total, count): the sum of the terms and their number; "
            "or batch='all', for which one number is right"
        )
    if found.ndim > 0 and (len(found) != n or not found.numel()):
        raise UsageError(f"loss: expected one loss per input [{n}, ...], got shape {list(found.shape)}")
    if found.ndim > 1 and n > 1 and found.shape[1] == n:
        half = _called(outputs[: n // 2], targets.part(0, n // 2))
        if isinstance(half, Tensor) and half.shape[:2] == (n // 2, n // 2):
            raise UsageError(
                f"loss: compares every output with every target: it gives {list(found.shape)} for outputs of shape "
                f"{list(outputs.shape)} and targets of shape {list(targets.values.shape)}; give targets the shape of the outputs"
            )
