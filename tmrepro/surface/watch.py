"""Observes what a call of a user's code reads, changes and draws, by torch's operators and the generators."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tmrepro.errors import UsageError


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records, while it is entered, the storages that torch's operators take, and those that they change in place."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.taken: set[int] = set()
        self.changed: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.taken |= storages(tree_leaves((args, kwargs)))
        if func._schema.is_mutable:  # noqa: SLF001 - torch has no public attribute
            for position, argument in enumerate(func._schema.arguments):  # noqa: SLF001
                if argument.alias_info is not None and argument.alias_info.is_write:
                    given = args[position] if position < len(args) else kwargs.get(argument.name)
                    self.changed |= storages(tree_leaves(given))
        return func(*args, **kwargs)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False. Otherwise torch loads its compiler, which takes two seconds, to exclude this class from it."""
        return False


def storages(values: Iterable[object]) -> set[int]:
    """Return the addresses of the memory of the tensors among `values`, if they have any."""
    found = set()
    for value in values:
        if isinstance(value, Tensor) and value.layout is torch.strided and value.numel():
            found.add(value.untyped_storage().data_ptr())
    return found - {0}


def storages_of(model: nn.Module) -> set[int]:
    """Return the addresses of the memory of a network's parameters."""
    return storages(model.parameters())


def generators() -> tuple[Any, ...]:
    """Return the states of all random generators that a forward may draw from, for a comparison with `==`."""
    states = [bytes(torch.get_rng_state().numpy())]
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states += [bytes(state.numpy()) for state in torch.cuda.get_rng_state_all()]
    numpy_state: Any = np.random.get_state()  # noqa: NPY002 - code draws from the global generator
    return (*states, random.getstate(), numpy_state[1].tobytes(), *numpy_state[2:])


def require_apart(watch: Watch, *others: nn.Module, name: str) -> None:
    """Raise UsageError if the call under `watch`, of a copy, reached the parameters of one of the `others`."""
    if any(watch.taken & storages_of(other) for other in others):
        raise UsageError(
            f"{name}: its forward uses the parameters of your module, not those of the moved copy, for example if a "
            "function that refers to the module replaced forward; write a class whose forward calls the module"
        )
