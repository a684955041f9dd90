"""The state of a network: parameters, buffers, and plain values among the attributes of its modules."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

DEPTH = 4  # levels of nested lists that are compared
_TORCHS_OWN = frozenset(vars(nn.Module())) | {"_is_full_backward_hook"}

State = Mapping[str, Any]


def state_of(model: nn.Module) -> State:
    """Return every parameter, buffer and attribute by its name. The values are not copied."""
    found: dict[str, Any] = {f"parameter {name!r}": value for name, value in model.named_parameters()}
    found |= {f"buffer {name!r}": value for name, value in model.named_buffers()}
    for name, module in model.named_modules():
        own = {key: value for key, value in vars(module).items() if key not in _TORCHS_OWN}
        found |= {f"attribute {f'{name}.{key}'.lstrip('.')!r}": value for key, value in own.items()}
    return found


def kept(state: State) -> State:
    """Return a copy of the values that `changed` compares, so that later calls do not change them."""
    return {name: _copied(value) for name, value in state.items()}


def changed(before: State, after: State) -> list[str]:
    """Return the names whose values differ. Only numbers, text, arrays and lists of them are compared."""
    return [
        name
        for name in dict.fromkeys([*before, *after])
        if name not in before or name not in after or not _same(before[name], after[name])
    ]


def _copied(value: Any, depth: int = DEPTH) -> Any:
    match value:
        case Tensor():
            return value.detach().clone()
        case np.ndarray():
            return value.copy()
        case list() | tuple() | set() if depth:
            return [_copied(item, depth - 1) for item in value]
        case dict() if depth:
            return {key: _copied(item, depth - 1) for key, item in value.items()}
        case _:
            return copy.copy(value) if isinstance(value, bytearray) else value


def _same(one: Any, other: Any, depth: int = DEPTH) -> bool:
    match one, other:
        case Tensor(), Tensor():
            return same_values(one, other)
        case np.ndarray(), np.ndarray():
            return one.shape == other.shape and one.tobytes() == other.tobytes()
        case (list() | tuple() | set(), list() | tuple() | set()) if depth:
            pairs = zip(one, other, strict=False)
            return len(one) == len(other) and all(_same(mine, theirs, depth - 1) for mine, theirs in pairs)
        case dict(), dict() if depth:
            return one.keys() == other.keys() and all(_same(one[key], other[key], depth - 1) for key in one)
        case (bool() | int() | float() | complex() | str() | bytes() | bytearray() | None, _):
            return type(one) is type(other) and (one == other or repr(one) == repr(other))
        case _:
            return type(one) is type(other)


def same_values(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have the same shape and numbers; nan equals nan."""
    if one.shape != other.shape or one.dtype != other.dtype or one.layout is not other.layout:
        return False
    if one.layout is not torch.strided:
        one, other = one.to_dense(), other.to_dense()
    return torch.equal(one, other) or bool(((one == other) | ((one != one) & (other != other))).all())


def shared_memory(state: State) -> tuple[str, str] | None:
    """Return a parameter and another value that share memory, by name. A copy, in which they would not, is another network."""
    seen: dict[int, list[tuple[int, int, str, Tensor]]] = {}
    for name, value in _tensors(state):
        begin = value.data_ptr()
        extent = sum((size - 1) * stride for size, stride in zip(value.shape, value.stride(), strict=True)) + 1
        end = begin + extent * value.element_size()
        others = seen.setdefault(value.untyped_storage().data_ptr(), [])
        for other_begin, other_end, other_name, other in others:
            is_parameter = isinstance(value, nn.Parameter) or isinstance(other, nn.Parameter)
            if is_parameter and other is not value and begin < other_end and other_begin < end:
                return other_name, name
        others.append((begin, end, name, value))
    return None


def _tensors(state: State) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor with memory in a network's state, including those in lists and dicts."""
    for name, value in state.items():
        waiting, met = [value], set()
        while waiting:
            match waiting.pop():
                case Tensor() as tensor:
                    if tensor.layout is torch.strided and tensor.numel() and not tensor.is_meta:
                        yield name, tensor
                case list() | tuple() | dict() as items if id(items) not in met:
                    met.add(id(items))
                    waiting += items.values() if isinstance(items, dict) else items
