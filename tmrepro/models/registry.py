"""Which builder serves which `kind` of the spec, and how a user's own factory is found."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any, assert_never

import torch
from torch import nn

from tmrepro.errors import UsageError
from tmrepro.models.initialization import initialize
from tmrepro.models.networks import convolutional_network, dense_network, residual_network
from tmrepro.spec import CnnModel, CustomModel, DnnModel, ModelSpec, Resnet50Model


def build_model(spec: ModelSpec, *, classes: int, size: int, seed: int) -> nn.Module:
    """The module of `spec` with its initial weights, on the CPU, in float32.

    The same spec and seed give the same bits, as long as a factory draws from torch's generators only; the global random
    state is left as it was.

    Raises:
        UsageError: the module does not give `classes` logits per image, or a factory cannot be used.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = _construct(spec, classes=classes, size=size)
        _check_logits(model, spec.name, classes=classes, size=size)  # lazy layers get their weights here
    _check_parameters(model, spec.name)
    initialize(model, init=spec.init, seed=seed)
    return model


def load_factory(path: str) -> Callable[..., nn.Module]:
    """The callable that "package.module:function" names. Importing it runs that package's code."""
    module_name, _, function = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), function)
    except Exception as error:
        raise UsageError(
            f"factory {path!r} cannot be loaded: {type(error).__name__}: {error}. "
            "Expected an importable 'package.module:function'; is its folder on PYTHONPATH?"
        ) from error
    if not callable(factory):
        raise UsageError(f"factory {path!r} is {type(factory).__name__}, expected a function that returns a module")
    return factory  # type: ignore[no-any-return]


def _construct(spec: ModelSpec, *, classes: int, size: int) -> nn.Module:
    match spec:
        case DnnModel():
            return dense_network(spec.widths, size=size)
        case CnnModel():
            return convolutional_network(spec.channels, kernel=spec.kernel, stride=spec.stride)
        case Resnet50Model():
            return residual_network(classes, momentum=spec.batch_norm.momentum, eps=spec.batch_norm.eps)
        case CustomModel():
            model = _call(load_factory(spec.factory), spec)
            if not isinstance(model, nn.Module):
                raise UsageError(f"factory {spec.factory!r} returned {type(model).__name__}, expected a torch module")
            return model.float()
        case _:
            assert_never(spec)


def _call(factory: Callable[..., nn.Module], spec: CustomModel) -> Any:
    try:
        return factory(**copy.deepcopy(spec.arguments))  # a copy: what the factory does to lists stays its own
    except Exception as error:
        raise UsageError(
            f"factory {spec.factory!r} failed with the arguments {spec.arguments}: {type(error).__name__}: {error}"
        ) from error


def _check_logits(model: nn.Module, name: str, *, classes: int, size: int) -> None:
    """Refuse what would fail, or be silently wrong, in the middle of a run."""
    images = torch.linspace(-1, 1, 2 * 3 * size * size).reshape(2, 3, size, size)
    given = images.clone()
    was_training = model.training
    model.eval()
    with torch.no_grad():
        try:
            logits, again = model(given), model(given)
        except Exception as error:
            raise UsageError(
                f"model {name!r} cannot take images of 3 x {size} x {size}: {type(error).__name__}: {error}"
            ) from error
    model.train(was_training)
    if not isinstance(logits, torch.Tensor) or not logits.is_floating_point():
        found = logits.dtype if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise UsageError(f"model {name!r} gives {found}, expected a float tensor of logits [n, {classes}]")
    if tuple(logits.shape) != (2, classes):
        raise UsageError(
            f"model {name!r} gives an output of shape {list(logits.shape)} for 2 images, expected [2, {classes}]: "
            f"its last layer must have one output per class of the data set"
        )
    if not torch.equal(given, images):
        raise UsageError(
            f"model {name!r} changes the images it is given: its first layers must not work in place (inplace=True, +=)"
        )
    if not torch.equal(logits.nan_to_num(), again.nan_to_num()):
        raise UsageError(
            f"model {name!r} gives other logits for the same images in eval mode: its dropout must follow self.training, "
            "and nothing else may be random"
        )


def _check_parameters(model: nn.Module, name: str) -> None:
    parameters = dict(model.named_parameters())
    if not any(value.requires_grad for value in parameters.values()):
        raise UsageError(
            f"model {name!r} has no parameters that could be trained ({len(parameters)} parameters in all)"
        )
    for parameter, value in parameters.items():
        if value.dtype != torch.float32:
            raise UsageError(f"model {name!r}: parameter {parameter} is {value.dtype}, expected torch.float32")
