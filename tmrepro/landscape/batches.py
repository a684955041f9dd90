"""Reads the data of `loss_surface` in all supported forms: tensors, tuples, dicts, loaders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler, WeightedRandomSampler

from tmrepro.errors import UsageError
from tmrepro.landscape.module import kind_of
from tmrepro.landscape.tensors import tensor_of
from tmrepro.spec.messages import did_you_mean


@dataclass(frozen=True)
class Given:
    """The arguments of a network, one tensor [n, ...] each, and the targets [n, ...].

    `names` are the names of keyword arguments, one for each of `columns`; None if the arguments are positional.
    """

    columns: tuple[Tensor, ...]
    names: tuple[str, ...] | None
    targets: Tensor

    def moved(self, device: torch.device, dtype: torch.dtype) -> Given:
        """Return copies on `device`, with floating point inputs in `dtype`."""
        columns = tuple(
            value.to(device, dtype if value.is_floating_point() else None, copy=True) for value in self.columns
        )
        return Given(columns, self.names, self.targets.to(device, copy=True))

    def label(self, index: int) -> str:
        """Return the name of a column for error messages."""
        if self.names is not None:
            return f"inputs: {self.names[index]!r}"
        return "inputs" if len(self.columns) == 1 else f"inputs: tensor {index}"


def read_data(inputs: object, targets: object) -> Given:
    """Return the tensors in `inputs` and `targets`. A loader is read once.

    Raises:
        UsageError: there are no data, or tensors that do not fit together.
    """
    if isinstance(inputs, Tensor | np.ndarray | Mapping) or _are_tensors(inputs):
        given = _checked(*_arguments(inputs, targets, "inputs"))
    elif isinstance(inputs, Dataset):
        raise UsageError(
            "inputs: a Dataset gives single items; pass torch.utils.data.DataLoader(dataset, batch_size=128)"
        )
    elif isinstance(inputs, Iterable) and not isinstance(inputs, str | bytes):
        given = _checked(*_joined(inputs, targets))
    else:
        raise UsageError(
            f"inputs: expected a tensor or an array, a tuple, list or dict of them, or a DataLoader, got {kind_of(inputs)}"
        )
    return given


def _are_tensors(inputs: object) -> bool:
    return (
        isinstance(inputs, tuple | list) and len(inputs) > 0 and all(isinstance(x, Tensor | np.ndarray) for x in inputs)
    )


def _arguments(inputs: Any, targets: object, where: str) -> tuple[tuple[str, ...] | None, list[Tensor], Tensor | None]:
    """Return names and tensors of the arguments, and the targets, if they are given."""
    if not isinstance(inputs, Mapping):
        if isinstance(targets, str):
            raise UsageError(f"targets: {targets!r} is the key of the targets, but the inputs are not a dict")
        parts = inputs if isinstance(inputs, tuple | list) else (inputs,)
        single = len(parts) == 1
        columns = [tensor_of(part, where if single else f"{where}: tensor {index}") for index, part in enumerate(parts)]
        return None, columns, None if targets is None else tensor_of(targets, "targets")
    named = dict(inputs)
    for name in named:
        if not isinstance(name, str):
            raise UsageError(f"{where}: expected names of arguments as keys, got {name!r}")
    if isinstance(targets, str):
        if targets not in named:
            raise UsageError(f"targets: the inputs have no {targets!r}{did_you_mean(targets, tuple(named))}")
        targets = named.pop(targets)
    columns = [tensor_of(value, f"{where}: {name!r}") for name, value in named.items()]
    return tuple(named), columns, None if targets is None else tensor_of(targets, "targets")


def _joined(batches: Iterable[Any], targets: object) -> tuple[tuple[str, ...] | None, list[Tensor], Tensor | None]:
    """Join all batches into one."""
    apart = targets is not None and not isinstance(targets, str)
    if apart and isinstance(batches, DataLoader) and not isinstance(batches.sampler, SequentialSampler):
        raise UsageError(
            "targets: the loader shuffles, so separate targets would not match its inputs; let it give "
            "(inputs, targets), or use shuffle=False"
        )
    if isinstance(batches, DataLoader):
        _require_all(batches)
    found: list[tuple[tuple[str, ...] | None, list[Tensor]]] = []
    wanted: list[Tensor] = []
    with _generators_kept(batches):
        for index, batch in enumerate(batches):
            inputs, own = (batch, None) if apart else _parted(batch, targets, f"inputs: batch {index}")
            names, columns, last = _arguments(inputs, own, f"inputs: batch {index}")
            if found and (names != found[0][0] or len(columns) != len(found[0][1])):
                raise UsageError(f"inputs: batch {index} has other arguments than the first one")
            found.append((names, columns))
            if last is not None:
                wanted.append(last)
    if not found:
        raise UsageError("inputs: gives no batches")
    columns = [_cat(parts, "inputs") for parts in zip(*(columns for _, columns in found), strict=True)]
    return found[0][0], columns, tensor_of(targets, "targets") if apart else _cat(tuple(wanted), "targets")


def _require_all(loader: DataLoader[Any]) -> None:
    """Raise UsageError if a loader drops inputs, or repeats some."""
    sampler = loader.sampler
    if isinstance(sampler, WeightedRandomSampler) or (isinstance(sampler, RandomSampler) and sampler.replacement):
        raise UsageError("inputs: the loader's sampler draws with replacement; each input must be used exactly once")
    if loader.drop_last and loader.batch_size is not None and isinstance(sampler, Sized):
        left = len(sampler) % loader.batch_size
        if left:
            raise UsageError(f"inputs: the loader drops {left} inputs; use drop_last=False")


def _parted(batch: Any, targets: Any, where: str) -> tuple[Any, Any]:
    """Split a batch into its inputs and its targets."""
    match batch:
        case Mapping() if isinstance(targets, str):
            return batch, targets
        case Mapping():
            raise UsageError(f"targets: name the key of a batch that holds them, one of {', '.join(map(str, batch))}")
        case tuple() | list() if len(batch) == 2:
            return batch[0], batch[1]
        case tuple() | list() if len(batch) > 2:
            return batch[:-1], batch[-1]
        case _:
            raise UsageError(
                f"{where}: expected (inputs, targets) or a dict, got {kind_of(batch)}; or give targets separately"
            )


def _cat(parts: tuple[Tensor, ...], name: str) -> Tensor:
    shapes = list(dict.fromkeys(tuple(part.shape[1:]) for part in parts))
    if any(part.ndim == 0 for part in parts):
        raise UsageError(f"{name}: expected tensors [batch, ...], got single numbers")
    if len(shapes) > 1:
        first, other = ([..., *shape] for shape in shapes[:2])
        raise UsageError(
            f"{name}: batches of shapes {_words(first)} and {_words(other)} cannot be joined; pad them to one length"
        )
    return torch.cat(parts)


def _words(shape: list[Any]) -> str:
    return f"[{', '.join('n' if size is ... else str(size) for size in shape)}]"


def _checked(names: tuple[str, ...] | None, columns: list[Tensor], targets: Tensor | None) -> Given:
    if not columns:
        raise UsageError("inputs: holds no tensors")
    given = Given(tuple(columns), names, columns[0] if targets is None else targets)
    n = len(columns[0]) if columns[0].ndim else 0
    for index, column in enumerate(columns):
        if column.ndim < 1 or len(column) == 0:
            raise UsageError(
                f"{given.label(index)}: expected at least one input along the first axis, got shape {list(column.shape)}"
            )
        if len(column) != n:
            raise UsageError(f"{given.label(index)}: has {len(column)} along the first axis, {given.label(0)} has {n}")
    if targets is None:
        raise UsageError("targets: expected a tensor or an array, got nothing")
    if targets.ndim < 1 or len(targets) != n:
        raise UsageError(f"targets: expected as many as inputs ({n}), got shape {list(targets.shape)}")
    return given


@contextmanager
def _generators_kept(batches: object) -> Iterator[None]:
    """Restore the state of the loader's own random generators."""
    holders = [batches, getattr(batches, "sampler", None), getattr(batches, "batch_sampler", None)]
    generators = [
        value for holder in holders if isinstance(value := getattr(holder, "generator", None), torch.Generator)
    ]
    states = [generator.get_state() for generator in generators]
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
