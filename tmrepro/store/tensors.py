"""theta.safetensors and labels.npy: named arrays, and one array without a name. Neither format can contain code."""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Float32, Int64, Shaped

from tmrepro.errors import DamagedError
from tmrepro.spec.limits import WEIGHTS_BYTES, WEIGHTS_HEADER_BYTES
from tmrepro.store.atomic import open_plain, read_bytes, shown, write_bytes
from tmrepro.store.documents import parse_json

LABELS_LIMIT_BYTES = 2**29  # a hundred million images with hard labels, or ten million with ten soft ones

_NPY_MAGIC = b"\x93NUMPY\x01\x00"
# numpy's own reader evaluates the header as Python. Headers from save_labels match one of these two lines.
_NPY_HEADER = re.compile(
    rb"\{'descr': '(?:<i8', 'fortran_order': False, 'shape': \((?P<n>\d{1,12}),\)"
    rb"|<f4', 'fortran_order': False, 'shape': \((?P<shape>\d{1,12}(?:, \d{1,12}){1,15})\)), \} *\n"
)

Labels = Int64[np.ndarray, " n"] | Float32[np.ndarray, "n classes *more"]
"""y~ in data order: class numbers (hard labels), a distribution per image (soft labels), or outputs."""


def save_tensors(path: Path, tensors: Mapping[str, Shaped[np.ndarray, "*_"]], *, work: Path) -> None:
    """Write named arrays. The bytes depend on names and values only (safetensors sorts the names)."""
    # order="C", because ascontiguousarray would turn a scalar (batch norm's counter) into an array of one.
    dense = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    write_bytes(path, safetensors.numpy.save(dense), work=work)


def count_numbers(path: Path, *, name: str | None = None) -> int:
    """Return the count of numbers in a safetensors file, from its header alone. It is at most what the file size allows.

    Raises:
        DamagedError: the file is missing, or its header is invalid.
    """
    name = name if name is not None else str(path)
    with open_plain(path, name=name) as file:
        size = os.fstat(file.fileno()).st_size
        header = parse_json(file.read(_header_bytes(file.read(8), size=size, name=name)), name=name)
    try:
        shapes = [entry["shape"] for key, entry in header.items() if key != "__metadata__"]
        numbers = sum(math.prod(int(length) for length in shape) for shape in shapes)
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise DamagedError(f"{shown(name)}: expected the header of a safetensors file, found another") from error
    if not 0 <= numbers <= size:
        raise DamagedError(f"{shown(name)}: expected at most {size} numbers in {size} bytes, found {numbers:.3g}")
    return numbers


def load_tensors(
    path: Path, *, limit_bytes: int = WEIGHTS_BYTES, name: str | None = None
) -> dict[str, Shaped[np.ndarray, "*_"]]:
    """Return the arrays of a safetensors file, writable, in the file's order. `limit_bytes` is the limit of their content.

    Raises:
        DamagedError: the file is missing, too large, or not a valid safetensors file.
    """
    name = name if name is not None else str(path)
    data = read_bytes(path, limit_bytes=limit_bytes + WEIGHTS_HEADER_BYTES, name=name)
    _header_bytes(data[:8], size=len(data), name=name)
    try:
        # Copied, so that the arrays are writable, as torch requires.
        return {key: np.array(value) for key, value in safetensors.numpy.load(data).items()}
    except (safetensors.SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedError(f"{shown(name)}: expected a safetensors file, found: {shown(str(error))}") from error


def _header_bytes(begin: bytes, *, size: int, name: str) -> int:
    """Return the length of the header of a safetensors file of `size` bytes, from its first eight bytes `begin`."""
    length = int.from_bytes(begin, "little")
    if not 0 < length <= min(WEIGHTS_HEADER_BYTES, size - 8):
        raise DamagedError(f"{shown(name)}: expected a safetensors file, found a header of {length} bytes")
    return length


def save_labels(path: Path, labels: Labels, *, work: Path) -> None:
    """Write y~ as a .npy file, version 1.0."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(labels, order="C"), version=(1, 0), allow_pickle=False)
    write_bytes(path, buffer.getvalue(), work=work)


def check_labels(labels: Labels, *, images: int, outputs: tuple[int, ...], name: str) -> None:
    """Raise DamagedError unless `labels` fit the number of images and outputs. An unknown class would cause an index error.

    Raises:
        DamagedError: the number of images is different, or a class is not in 0 .. classes - 1.
    """
    classes = outputs[0] if len(outputs) == 1 else 0
    found = f"{list(labels.shape)} of {labels.dtype}"
    if labels.dtype == np.int64 and labels.shape == (images,):
        if not labels.size or (labels.min() >= 0 and labels.max() < classes):
            return
        found = f"classes from {labels.min()} to {labels.max()}"
    elif labels.shape == (images, *outputs):
        return
    raise DamagedError(f"{shown(name)}: expected labels of {images} images for outputs {list(outputs)}, found {found}")


def load_labels(path: Path, *, name: str | None = None) -> Labels:
    """Return y~ from a .npy file.

    Raises:
        DamagedError: the file is missing, or is not int64 [n] or float32 [n, classes, ...] of the size in its header.
    """
    name = name if name is not None else str(path)
    data = read_bytes(path, limit_bytes=LABELS_LIMIT_BYTES, name=name)
    start = len(_NPY_MAGIC) + 2
    end = start + int.from_bytes(data[len(_NPY_MAGIC) : start], "little")
    header = _NPY_HEADER.fullmatch(data[start:end])
    if not data.startswith(_NPY_MAGIC) or header is None:
        raise DamagedError(
            f"{shown(name)}: expected a .npy file of int64 [n] or float32 [n, classes, ...], "
            f"found {shown(data[:120].decode('latin-1'))!r}"
        )
    dtype = np.dtype("<i8") if header["n"] else np.dtype("<f4")
    shape = tuple(int(length) for length in (header["n"] or header["shape"]).split(b","))
    if len(data) - end != math.prod(shape) * dtype.itemsize:
        raise DamagedError(
            f"{shown(name)}: expected {dtype} {list(shape)}, found {len(data) - end} bytes where those would be"
        )
    return np.frombuffer(data, dtype=dtype, offset=end).reshape(shape).copy()
