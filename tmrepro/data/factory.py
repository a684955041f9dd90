"""Four arrays from a user's function. Calling it runs the user's code, which is part of what is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped

from tmrepro.data.dataset import Dataset
from tmrepro.data.own import NAMES, own_dataset
from tmrepro.errors import FieldError, UsageError
from tmrepro.spec import CustomDataSpec
from tmrepro.usercode import CodeChanges, CodeRecord, call_factory, changes_since, code_of

_AT = ("data", "factory")


def load(data: CustomDataSpec) -> Dataset:
    """Return the arrays that a factory returns, with the record of its code. It is called twice, and must return the same.

    Torch's and NumPy's global generators are seeded with 0 before each call, and restored after it.

    Raises:
        FieldError: the factory cannot be used, its arrays are invalid, or they differ between the calls.
    """
    made: list[Dataset] = []

    def use() -> list[object]:
        made.append(_made(data, code=None))
        return []

    try:
        code = code_of(data.factory, use=use)
    except FieldError:
        raise
    except UsageError as error:
        raise FieldError(_AT, str(error)) from error
    again = _made(data, code=code)
    if again.fingerprint != made[0].fingerprint:
        raise FieldError(
            _AT,
            f"{data.factory} returns different arrays at each call: seed its random generators, so that the run can be checked",
        )
    return again


def code_of_data(data: CustomDataSpec) -> CodeRecord:
    """Return the record of a data factory's code. The factory is called.

    Raises:
        UsageError: as `load`.
    """

    def use() -> list[object]:
        _made(data, code=None)
        return []

    return code_of(data.factory, use=use)


def data_code_changes(data: CustomDataSpec, recorded: CodeRecord) -> CodeChanges:
    """Return how the code of a data factory differs from the code that a run `recorded`.

    Raises:
        UsageError: as `load`, unless a changed file explains it.
    """
    return changes_since(recorded, factory=data.factory, find=lambda: code_of_data(data))


def _made(data: CustomDataSpec, *, code: CodeRecord | None) -> Dataset:
    state = np.random.get_state()  # noqa: NPY002 - a user's function may draw from it
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            np.random.seed(0)  # noqa: NPY002
            found = _call(data)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    arrays = {name: _array(value, name, data.factory) for name, value in _four(found, data.factory).items()}
    notes = code.notes if code is not None else ()
    return own_dataset(arrays, at=_AT, where=data.factory, source="arrays of a user's function", notes=notes, code=code)


def _call(data: CustomDataSpec) -> Any:
    try:
        return call_factory(data.factory, data.arguments)
    except UsageError as error:
        raise FieldError(_AT, str(error)) from error


def _four(found: object, factory: str) -> Mapping[str, object]:
    expected = f"expected {', '.join(NAMES)}, as a mapping or in this order"
    if isinstance(found, Mapping):
        if set(found) != set(NAMES):
            there = ", ".join(str(key)[:40] for key in list(found)[:8]) or "none"
            raise FieldError(_AT, f"{factory} returns a mapping of {there}; {expected}")
        return {name: found[name] for name in NAMES}
    if not isinstance(found, tuple | list) or len(found) != len(NAMES):
        got = f"{len(found)} values" if isinstance(found, tuple | list) else type(found).__name__
        raise FieldError(_AT, f"{factory} returns {got}; {expected}")
    return dict(zip(NAMES, found, strict=True))


def _array(value: object, name: str, factory: str) -> Shaped[np.ndarray, ...]:
    if isinstance(value, torch.Tensor) and value.layout is torch.strided and not value.is_meta:
        value = value.detach().cpu()
        return np.array((value.float() if value.dtype == torch.bfloat16 else value).numpy())
    if isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray):
        return np.array(value)
    raise FieldError(_AT, f"{factory}: {name} is {type(value).__name__}, expected a dense tensor or a NumPy array")
