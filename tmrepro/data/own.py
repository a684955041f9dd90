"""The user's own data: four arrays of any shape, checked and converted to the few types that networks take."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int64, Shaped

from tmrepro.data.dataset import Dataset, Part
from tmrepro.errors import FieldError
from tmrepro.spec import Location
from tmrepro.spec.limits import EXAMPLE_NUMBERS
from tmrepro.usercode import CodeRecord

NAMES = ("train_inputs", "train_targets", "validation_inputs", "validation_targets")
FINGERPRINT_HEADER = b"tmrepro arrays 1\n"

_AS_TORCH_HAS_IT = frozenset({"bool", "uint8", "int8", "int16", "int32", "int64"})  # beside float32


def own_dataset(
    arrays: Mapping[str, Shaped[np.ndarray, ...]],
    *,
    at: Location,
    where: str,
    source: str,
    notes: tuple[str, ...] = (),
    code: CodeRecord | None = None,
) -> Dataset:
    """Return the Dataset of four arrays. Floating point numbers become float32; integers and truth values are unchanged.

    Targets are classes if they are integers [n], each of 0..C-1 in one part or the other; else they are numbers [n, ...], and
    [n] becomes [n, 1]. `at` is the field of the spec that names the arrays. `where` is their origin, for messages.

    Raises:
        FieldError: the arrays are invalid.
    """
    try:
        inputs = {part: _inputs(arrays[f"{part}_inputs"], f"{part}_inputs") for part in ("train", "validation")}
        targets = {part: _targets(arrays[f"{part}_targets"], f"{part}_targets") for part in ("train", "validation")}
        _check_pairs(inputs, targets)
        classes = _classes(targets["train"], targets["validation"])
    except ValueError as error:
        raise FieldError(at, f"{where}: {error}") from error
    train, validation = (
        Part(inputs[part], targets[part], np.arange(len(inputs[part]), dtype=np.int64))
        for part in ("train", "validation")
    )
    return Dataset(
        train=train,
        validation=validation,
        classes=tuple(str(number) for number in range(classes)),
        source=source,
        mean=None,
        deviation=None,
        fingerprint=fingerprint_of_arrays(train, validation),
        notes=notes,
        code=code,
    )


def fingerprint_of_arrays(train: Part, validation: Part) -> str:
    """Return the SHA-256 (hex) of inputs and targets, in data order.

    The bytes hashed are FINGERPRINT_HEADER, then for each of the four arrays in the order of NAMES: the name of its dtype and
    its shape as text ("float32 [90, 4]" and a line feed), and its numbers, little-endian, in C order.
    """
    digest = hashlib.sha256(FINGERPRINT_HEADER)
    for array in (train.images, train.labels, validation.images, validation.labels):
        digest.update(f"{array.dtype.name} {list(array.shape)}\n".encode())
        digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _inputs(given: Shaped[np.ndarray, ...], name: str) -> Shaped[np.ndarray, "n ..."]:
    _require_numbers(given, name)
    if given.dtype.kind == "f":
        return _finite(given, name)
    if given.dtype.name in _AS_TORCH_HAS_IT:
        return np.ascontiguousarray(given, dtype=given.dtype.newbyteorder("="))
    return _as_int64(given, name)


def _targets(given: Shaped[np.ndarray, ...], name: str) -> Shaped[np.ndarray, "n ..."]:
    _require_numbers(given, name)
    if given.dtype.kind == "b":
        raise ValueError(f"{name}: truth values; expected integers (classes 0 and 1) or floating point numbers")
    if given.dtype.kind == "f":
        numbers = _finite(given, name)
        return numbers[:, None] if numbers.ndim == 1 else numbers
    if given.ndim != 1:
        raise ValueError(
            f"{name}: integers of shape {list(given.shape)}; integers are classes, of shape [n]; numbers are floating point"
        )
    return _as_int64(given, name)


def _require_numbers(given: Shaped[np.ndarray, ...], name: str) -> None:
    if given.dtype.kind not in "biuf":
        raise ValueError(f"{name}: dtype {given.dtype}; expected real numbers, integers or truth values")
    if math.prod(given.shape[1:]) > EXAMPLE_NUMBERS:
        raise ValueError(f"{name}: {math.prod(given.shape[1:])} numbers an example; expected at most {EXAMPLE_NUMBERS}")
    if given.ndim < 1 or 0 in given.shape:
        raise ValueError(f"{name}: shape {list(given.shape)}; expected at least one example along the first axis")


def _finite(given: Shaped[np.ndarray, "n ..."], name: str) -> Shaped[np.ndarray, "n ..."]:
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(given, dtype=np.float32)
    finite = np.isfinite(narrow)
    if not finite.all():
        at = tuple(int(index) for index in np.argwhere(~finite)[0])
        raise ValueError(f"{name}: not finite in float32 at {list(at)} ({given[at]})")
    return narrow


def _as_int64(given: Shaped[np.ndarray, "n ..."], name: str) -> Int64[np.ndarray, "n ..."]:
    if given.dtype.kind == "u" and int(given.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{name}: has {given.max()}, which is too large for int64")
    return np.ascontiguousarray(given, dtype=np.int64)


def _check_pairs(inputs: Mapping[str, Shaped[np.ndarray, ...]], targets: Mapping[str, Shaped[np.ndarray, ...]]) -> None:
    for part, found in inputs.items():
        if len(found) != len(targets[part]):
            raise ValueError(f"{part}_inputs has {len(found)} examples, {part}_targets {len(targets[part])}")
    for what, parts in (("inputs", inputs), ("targets", targets)):
        ours, theirs = ((parts[part].dtype, parts[part].shape[1:]) for part in ("train", "validation"))
        if ours != theirs:
            raise ValueError(
                f"train_{what} are {ours[0]} {list(ours[1])} each, validation_{what} {theirs[0]} {list(theirs[1])}"
            )


def _classes(train: Shaped[np.ndarray, "n ..."], validation: Shaped[np.ndarray, "m ..."]) -> int:
    """Return the number of classes; 0 if targets are numbers. One part may lack some, as a network's own labels may."""
    if train.dtype.kind == "f":
        return 0
    if len(np.unique(train)) < 2:
        raise ValueError(f"train_targets: only class {train[0]}; expected at least two classes")
    found = np.union1d(train, validation)
    if not np.array_equal(found, np.arange(len(found))):
        shown = ", ".join(str(number) for number in found[:8]) + (", ..." if len(found) > 8 else "")
        raise ValueError(
            f"train_targets and validation_targets: classes {shown}; expected 0, 1, ..., C-1, each in one part or the other"
        )
    return len(found)
