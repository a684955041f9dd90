"""Reads four arrays from an untrusted .npz file: checks sizes before it allocates memory, and reads no pickle."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Shaped

from tmrepro.data.dataset import Dataset
from tmrepro.data.files import size_of_regular_file
from tmrepro.data.own import NAMES, own_dataset
from tmrepro.data.picture import shown
from tmrepro.errors import DataError, FieldError
from tmrepro.spec.limits import DATA_BYTES

# A file that claims to expand further is not data: only zeros compress more.
EXPANSION_MAX = 200
EXPANSION_FREE_BYTES = 2**28  # below this, any expansion is harmless
MEMBERS_MAX = 1000
_HEADER_CHARACTERS = 10_000
_BLOCK_BYTES = 2**22
_AT = ("data", "file")


def load(path: Path) -> Dataset:
    """Return the data in a .npz file that `numpy.savez` or `savez_compressed` wrote.

    Raises:
        DataError: the file is missing, of another format, or damaged.
        FieldError: it does not hold four arrays of numbers that fit together.
    """
    size = size_of_regular_file(path, unreadable=_unreadable)
    if size > DATA_BYTES:
        raise FieldError(_AT, f"{shown(path)}: {size} bytes; expected at most {DATA_BYTES}")
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path)
            arrays = {name: _array(archive, members[name], path=path, name=name) for name in NAMES}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError, RuntimeError) as error:
        raise _unreadable(path, f"not a .npz file, or damaged: {error}") from error
    others = sorted(set(members) - set(NAMES))
    notes = (
        (f"{len(others)} other arrays in the file are left out: {', '.join(map(repr, others[:5]))}",) if others else ()
    )
    return own_dataset(arrays, at=_AT, where=shown(path), source="arrays of the user's", notes=notes)


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    listed = archive.infolist()
    if len(listed) > MEMBERS_MAX:
        raise FieldError(_AT, f"{shown(path)}: {len(listed)} members; expected at most {MEMBERS_MAX}")
    members = {info.filename.removesuffix(".npy"): info for info in listed}
    if len(members) < len(listed):
        raise _unreadable(path, "two arrays of the same name")
    if missing := [name for name in NAMES if name not in members]:
        there = ", ".join(map(repr, sorted(members)[:8])) or "none"
        raise FieldError(_AT, f"{shown(path)}: no array {missing[0]!r}; there are {there}")
    total = sum(members[name].file_size for name in NAMES)
    packed = sum(members[name].compress_size for name in NAMES)
    if total > DATA_BYTES:
        raise FieldError(_AT, f"{shown(path)}: {total} bytes of arrays; expected at most {DATA_BYTES}")
    if total > EXPANSION_FREE_BYTES and total > EXPANSION_MAX * packed:
        raise FieldError(
            _AT,
            f"{shown(path)}: {packed} bytes expand to {total}, over {EXPANSION_MAX} times as many; save it without compression",
        )
    return members


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, *, path: Path, name: str) -> Shaped[np.ndarray, ...]:
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise _unreadable(path, f"{name}: a compression method that NumPy does not write")
    with cast("zipfile.ZipExtFile", archive.open(info)) as file:
        shape, fortran, dtype = _header(file, path=path, name=name)
        if dtype.hasobject:
            raise FieldError(
                _AT, f"{shown(path)}: {name} has Python objects (a pickle, which can run code); save numbers"
            )
        expected, found = math.prod(shape) * dtype.itemsize, info.file_size - file.tell()
        if expected != found:
            raise _unreadable(path, f"{name}: the header says {dtype} {list(shape)}, which is not {found} bytes")
        flat = np.empty(math.prod(shape), dtype=dtype)
        _fill(file, flat.view(np.uint8) if flat.size else flat, path=path, name=name)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _header(file: zipfile.ZipExtFile, *, path: Path, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, Fortran order and dtype. NumPy reads the header as a Python literal of bounded length, never as code."""
    try:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = cast("Any", readers[version])(file, max_header_size=_HEADER_CHARACTERS)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError, KeyError) as error:
        raise _unreadable(path, f"{name}: no header of an array of numbers: {error}") from error
    return shape, fortran, dtype


def _fill(file: zipfile.ZipExtFile, into: Shaped[np.ndarray, " bytes"], *, path: Path, name: str) -> None:
    """Fill `into` exactly. The checksum is compared at the end."""
    view, done = memoryview(cast("Any", into)), 0
    while done < len(view):
        block = file.read(min(_BLOCK_BYTES, len(view) - done))
        if not block:
            raise _unreadable(path, f"{name}: ends after {done} of {len(view)} bytes")
        view[done : done + len(block)] = block
        done += len(block)
    if file.read(1):
        raise _unreadable(path, f"{name}: has more than {done} bytes")


def _unreadable(path: Path, reason: str) -> DataError:
    return DataError(f"{shown(path)}: cannot be read as arrays ({reason}); correct this, or name another file")
