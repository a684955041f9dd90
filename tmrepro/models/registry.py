"""Which builder serves which `kind` of the spec, and how a user's own factory is found."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import assert_never

import torch
from torch import nn

from tmrepro.errors import UsageError
from tmrepro.models.initialization import initialize
from tmrepro.models.networks import convolutional_network, dense_network, residual_network
from tmrepro.spec import CnnModel, CustomModel, DnnModel, ModelSpec, Resnet50Model


def build_model(spec: ModelSpec, *, classes: int, size: int, seed: int) -> nn.Module:
    """The module of `spec` with its initial weights, on the CPU, in float32.

    The same spec and seed give the same bits; the global random state is left as it was.

    Raises:
        UsageError: the module does not give `classes` logits per image, or a factory cannot be used.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _construct(spec, classes=classes, size=size)
    initialize(model, init=spec.init, seed=seed)
    _check_logits(model, spec.name, classes=classes, size=size)
    return model


def load_factory(path: str) -> Callable[..., nn.Module]:
    """The callable that "package.module:function" names. Importing it runs that package's code."""
    module_name, _, function = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"factory {path!r} cannot be loaded: {error}. Expected an importable 'package.module:function'; "
            "is its folder on PYTHONPATH?"
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
            model = load_factory(spec.factory)(**spec.arguments)
            if not isinstance(model, nn.Module):
                raise UsageError(f"factory {spec.factory!r} returned {type(model).__name__}, expected a torch module")
            return model.float()
        case _:
            assert_never(spec)


def _check_logits(model: nn.Module, name: str, *, classes: int, size: int) -> None:
    was_training = model.training
    model.eval()
    with torch.no_grad():
        try:
            shape = tuple(model(torch.zeros(2, 3, size, size)).shape)
        except RuntimeError as error:
            raise UsageError(f"model {name!r} cannot take images of 3 x {size} x {size}: {error}") from error
    model.train(was_training)
    if shape != (2, classes):
        raise UsageError(
            f"model {name!r} gives an output of shape {list(shape)} for 2 images, expected [2, {classes}]: "
            f"its last layer must have one output per class of the data set"
        )
