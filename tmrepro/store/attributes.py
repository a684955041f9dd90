"""Attributes of a Dataset that every file format of xarray can hold: numbers, text, and lists of numbers (netCDF 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

_LARGEST = 2**31 - 1  # netCDF 3 has no larger integer


def flat_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `attributes` without dicts, None and bool.

    A dict becomes one attribute per key (`delta_norm`), None is omitted, a bool is 0 or 1. A list of lists becomes one list.
    Integers of 2^31 and more, and lists of text, become text.
    """
    return dict(_flat("", attributes))


def _flat(prefix: str, attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in attributes.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{name}_", value)
            continue
        plain = (
            _list(value) if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) else _number(value)
        )
        if plain is not None and plain != []:
            yield f"{prefix}{name}", plain


def _list(values: Sequence[Any] | np.ndarray) -> list[Any] | str:
    flat = [_number(value) for value in _leaves(values)]
    if all(isinstance(value, int | float) for value in flat):
        return flat
    return ", ".join(str(value) for value in flat)


def _leaves(values: Sequence[Any] | np.ndarray) -> Iterator[Any]:
    for value in values:
        if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
            yield from _leaves(value)
        else:
            yield value


def _number(value: Any) -> Any:
    """Return a number that netCDF 3 supports, or text. None stays None."""
    match value:
        case None | str():
            return value
        case bool() | int() | np.integer() | np.bool_():
            return int(value) if abs(int(value)) <= _LARGEST else str(int(value))
        case float() | np.floating():
            return float(value)
        case _:
            return str(value)
