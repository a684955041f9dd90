"""theta.safetensors and labels.npy: arrays with names and one array without. Neither format can carry code."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Float32, Int64, Shaped

from tmrepro.errors import DamagedError
from tmrepro.store.atomic import read_bytes, shown, write_bytes

TENSORS_LIMIT_BYTES = 16 * 2**30
TENSORS_LIMIT_HEADER_BYTES = 16 * 2**20
LABELS_LIMIT_BYTES = 4 * 2**30

_NPY_MAGIC = b"\x93NUMPY\x01\x00"
# numpy's own reader evaluates the header as Python; what save_labels writes is one of two lines.
_NPY_HEADER = re.compile(
    rb"\{'descr': '(?:<i8', 'fortran_order': False, 'shape': \((?P<n>\d{1,12}),\)"
    rb"|<f4', 'fortran_order': False, 'shape': \((?P<images>\d{1,12}), (?P<classes>\d{1,12})\)), \} *\n"
)

Labels = Int64[np.ndarray, " n"] | Float32[np.ndarray, "n classes"]
"""y~ in data order: hard labels as class numbers, soft labels as a distribution per image."""


def save_tensors(path: Path, tensors: Mapping[str, Shaped[np.ndarray, "*_"]], *, work: Path) -> None:
    """Write named arrays. The bytes depend on names and values only (safetensors sorts; it keeps no order)."""
    # order="C" and not ascontiguousarray, which would turn a scalar (batch norm's counter) into an array of one.
    dense = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    write_bytes(path, safetensors.numpy.save(dense), work=work)


def load_tensors(path: Path, *, name: str | None = None) -> dict[str, Shaped[np.ndarray, "*_"]]:
    """The arrays of a safetensors file, writable, in the file's order.

    Raises:
        DamagedError: missing, or not a well-formed safetensors file.
    """
    name = name if name is not None else str(path)
    data = read_bytes(path, limit_bytes=TENSORS_LIMIT_BYTES, name=name)
    header_bytes = int.from_bytes(data[:8], "little")
    if not 0 < header_bytes <= min(TENSORS_LIMIT_HEADER_BYTES, len(data) - 8):
        raise DamagedError(f"{shown(name)}: expected a safetensors file, found a header of {header_bytes} bytes")
    try:
        # The copy is what makes the arrays writable, which torch asks for.
        return {key: np.array(value) for key, value in safetensors.numpy.load(data).items()}
    except (safetensors.SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedError(f"{shown(name)}: expected a safetensors file, found: {shown(str(error))}") from error


def save_labels(path: Path, labels: Labels, *, work: Path) -> None:
    """Write y~ as a .npy file, version 1.0."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(labels, order="C"), version=(1, 0), allow_pickle=False)
    write_bytes(path, buffer.getvalue(), work=work)


def load_labels(path: Path, *, name: str | None = None) -> Labels:
    """y~ from a .npy file.

    Raises:
        DamagedError: missing, or not int64 [n] or float32 [n, classes] of exactly the size that its header says.
    """
    name = name if name is not None else str(path)
    data = read_bytes(path, limit_bytes=LABELS_LIMIT_BYTES, name=name)
    start = len(_NPY_MAGIC) + 2
    end = start + int.from_bytes(data[len(_NPY_MAGIC) : start], "little")
    header = _NPY_HEADER.fullmatch(data[start:end])
    if not data.startswith(_NPY_MAGIC) or header is None:
        raise DamagedError(
            f"{shown(name)}: expected a .npy file of int64 [n] or float32 [n, classes], "
            f"found {shown(data[:120].decode('latin-1'))!r}"
        )
    dtype = np.dtype("<i8") if header["n"] else np.dtype("<f4")
    shape = (int(header["n"]),) if header["n"] else (int(header["images"]), int(header["classes"]))
    if len(data) - end != math.prod(shape) * dtype.itemsize:
        raise DamagedError(
            f"{shown(name)}: expected {dtype} {list(shape)}, found {len(data) - end} bytes where those would be"
        )
    return np.frombuffer(data, dtype=dtype, offset=end).reshape(shape).copy()
