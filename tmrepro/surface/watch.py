"""Observes what a call of a user's code reads, changes and draws, by torch's operators and the generators."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tmrepro.errors import UsageError


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records, while it is entered, which storages torch's operators use, by address.

    `taken` are all that they take, `changed` those that they change in place, and `read` those that they read before any operator
    under this watch had written to them. With a `model`, the watch also follows what is computed from its parameters (`derived`).
    """

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.taken: set[int] = set()
        self.changed: set[int] = set()
        self.read: set[int] = set()
        self._written: set[int] = set()
        self._sources = set() if model is None else storages_of(model)
        self._derived: dict[int, StorageWeakRef] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        taken, changed = storages(tree_leaves((args, kwargs))), set()
        if func._schema.is_mutable:  # noqa: SLF001 - torch has no public attribute
            for position, argument in enumerate(func._schema.arguments):  # noqa: SLF001
                if argument.alias_info is not None and argument.alias_info.is_write:
                    given = args[position] if position < len(args) else kwargs.get(argument.name)
                    changed |= storages(tree_leaves(given))
        self.taken |= taken
        self.changed |= changed
        self.read |= taken - changed - self._written
        found = func(*args, **kwargs)
        self._written |= changed | (storages(tree_leaves(found)) - taken)
        if self._sources:
            self._follow(func._schema.name, taken, tree_leaves(found))  # noqa: SLF001
        return found

    def derived(self) -> set[int]:
        """Return the addresses of the storages that were computed from the model's parameters and still exist."""
        return {address for address in self._derived if self._is_derived(address)}

    def _is_derived(self, address: int) -> bool:
        memory = self._derived.get(address)
        return memory is not None and not memory.expired()  # type: ignore[no-untyped-call]

    def _follow(self, operator: str, taken: set[int], found: list[object]) -> None:
        # zeros_like, new_zeros and the like use no numbers of a tensor, only its shape.
        shape_only = operator.endswith("_like") or operator.startswith("aten::new_")
        follows = not shape_only and any(one in self._sources or self._is_derived(one) for one in taken)
        for address, storage in _memory(found):
            if follows and address not in self._sources:
                self._derived[address] = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
            elif not follows:
                self._derived.pop(address, None)  # the address was that of a storage that is gone

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False. Otherwise torch loads its compiler, which takes two seconds, to exclude this class from it."""
        return False


def storages(values: Iterable[object]) -> set[int]:
    """Return the addresses of the memory of the tensors among `values`, if they have any."""
    return {address for address, _ in _memory(values)}


def _memory(values: Iterable[object]) -> Iterator[tuple[int, torch.UntypedStorage]]:
    for value in values:
        if isinstance(value, Tensor) and value.layout is torch.strided and value.numel():
            storage = value.untyped_storage()
            if address := storage.data_ptr():
                yield address, storage


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
