"""Builds the network of each `kind` of model in the spec, and checks it before training."""

from __future__ import annotations

import math
from typing import assert_never

import torch
from torch import Tensor, nn

from tmrepro.errors import UsageError
from tmrepro.networks.initialization import initialize
from tmrepro.networks.networks import convolutional_network, dense_network, residual_network
from tmrepro.records import Signature
from tmrepro.spec import CnnModel, CustomModel, DnnModel, ModelSpec, Resnet50Model
from tmrepro.usercode import call_factory


def build_model(spec: ModelSpec, *, signature: Signature, seed: int) -> nn.Module:
    """Return the module of `spec` with its initial weights, on the CPU, in float32.

    The same spec and seed give bitwise identical weights if a factory draws from torch's generators only. The global random
    state is unchanged.

    Raises:
        UsageError: the module's inputs or outputs do not fit `signature`, or a factory cannot be used.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = _construct(spec, signature=signature)
        _check_outputs(model, spec.name, signature=signature)  # lazy layers get their weights here
    _check_parameters(model, spec.name)
    initialize(model, init=spec.init, seed=seed)
    return model


def sample_inputs(signature: Signature) -> Tensor:
    """Return two inputs [2, *shape] that a network must take: numbers from -1 to 1, or the least and largest integers in turn."""
    dtype: torch.dtype = getattr(torch, signature.dtype)
    shape = (2, *signature.shape)
    count = math.prod(shape)
    if dtype.is_floating_point:
        return torch.linspace(-1, 1, count).reshape(shape)
    odd = (torch.arange(count) % 2).bool().reshape(shape)
    return odd if dtype == torch.bool else torch.where(odd, signature.largest, signature.least).to(dtype)


def _construct(spec: ModelSpec, *, signature: Signature) -> nn.Module:
    match spec:
        case DnnModel() | CnnModel() | Resnet50Model():
            return _of_the_paper(spec, signature=signature)
        case CustomModel():
            model = call_factory(spec.factory, spec.arguments)
            if not isinstance(model, nn.Module):
                raise UsageError(f"factory {spec.factory!r} returned {type(model).__name__}, expected a torch module")
            return model.float()
        case _:
            assert_never(spec)


def _of_the_paper(spec: DnnModel | CnnModel | Resnet50Model, *, signature: Signature) -> nn.Module:
    if signature.side is None or len(signature.outputs) != 1:
        inputs, outputs = list(signature.shape), list(signature.outputs)
        raise UsageError(
            f"model {spec.name!r} of kind {spec.kind} takes pictures, float [3, size, size], and gives one row of outputs; the "
            f"data have inputs {signature.dtype} {inputs} and outputs {outputs}; use a model of kind custom"
        )
    match spec:
        case DnnModel():
            return dense_network(spec.widths, size=signature.side)
        case CnnModel():
            return convolutional_network(spec.channels, kernel=spec.kernel, stride=spec.stride)
        case Resnet50Model():
            constants = spec.batch_norm
            return residual_network(signature.outputs[0], momentum=constants.momentum, eps=constants.eps)
        case _:
            assert_never(spec)


def _check_outputs(model: nn.Module, name: str, *, signature: Signature) -> None:
    """Raise UsageError for a model that would fail, or be silently wrong, in the middle of a run."""
    images = sample_inputs(signature)
    given = images.clone()
    was_training = model.training
    model.eval()
    with torch.no_grad():
        try:
            logits, again = model(given), model(given)
        except Exception as error:
            raise UsageError(
                f"model {name!r} cannot take {_inputs_in_words(signature)}: {type(error).__name__}: {error}"
            ) from error
    model.train(was_training)
    wanted = (2, *signature.outputs)
    what = f"{'numbers' if signature.classes is None else 'logits'} [{', '.join(map(str, ('n', *signature.outputs)))}]"
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        found = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise UsageError(f"model {name!r} gives {found}, expected a float tensor of {what}")
    if tuple(logits.shape) != wanted:
        needs = (
            "its last layer must have one output per class of the data set"
            if signature.classes is not None
            else "its outputs must have the shape of the data's targets"
        )
        raise UsageError(
            f"model {name!r} gives an output of shape {list(logits.shape)} for 2 inputs, expected {list(wanted)}: {needs}"
        )
    if not torch.equal(given, images):
        raise UsageError(
            f"model {name!r} changes its inputs: its first layers must not work in place (inplace=True, +=)"
        )
    if not torch.equal(logits.nan_to_num(), again.nan_to_num()):
        raise UsageError(
            f"model {name!r} gives different outputs for the same inputs in eval mode: its dropout must follow self.training, "
            "and nothing else may be random"
        )


def _check_parameters(model: nn.Module, name: str) -> None:
    parameters = dict(model.named_parameters())
    if not any(value.requires_grad for value in parameters.values()):
        raise UsageError(f"model {name!r} has no trainable parameters ({len(parameters)} parameters in all)")
    for parameter, value in parameters.items():
        if value.dtype != torch.float32:
            raise UsageError(f"model {name!r}: parameter {parameter} is {value.dtype}, expected torch.float32")


def _inputs_in_words(signature: Signature) -> str:
    if signature.side is not None:
        return f"images of 3 x {signature.side} x {signature.side}"
    return f"inputs of shape {list(signature.shape)}, {signature.dtype}"
