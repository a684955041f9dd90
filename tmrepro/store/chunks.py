"""The bytes of one chunk: little-endian float64, then zstd with its own checksum, then crc32c.

This is zarr's codec pipeline for the codecs that `zarr_metadata` allows. zarr's own writer would omit a chunk of fill
values, and its reader would read a missing chunk as fill values. Both are wrong for a store in which nan is a result.
"""

from __future__ import annotations

import math

import google_crc32c
import numpy as np
from jaxtyping import Float64
from numcodecs.zstd import Zstd

from tmrepro.errors import DamagedError

LEVEL = 5
"""The zstd level. It is fixed, because the bytes depend on it."""

REMEDY = "run 'tmrepro run SPEC --out RUN' to recompute this chunk"

_CRC_BYTES = 4
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def encode(block: Float64[np.ndarray, "*_"], *, shape: tuple[int, ...]) -> bytes:
    """Return the chunk file of `block`. A block at the grid's edge is padded with nan to `shape`, as in zarr.

    Every nan is stored with the same bits, because the bit pattern of a nan depends on the machine.
    """
    whole = np.full(shape, np.nan, dtype="<f8")
    whole[tuple(slice(length) for length in block.shape)] = np.where(np.isnan(block), np.nan, block)
    body = bytes(Zstd(level=LEVEL, checksum=True).encode(whole.tobytes()))
    return body + int(google_crc32c.value(body)).to_bytes(_CRC_BYTES, "little")


def decode(data: bytes, *, shape: tuple[int, ...], name: str) -> Float64[np.ndarray, "*_"]:
    """Return the content of a chunk file of `shape`. Messages call it `name`.

    Raises:
        DamagedError: a checksum differs, or the content is not exactly a chunk of that shape.
    """
    body = data[:-_CRC_BYTES]
    stored = int.from_bytes(data[-_CRC_BYTES:], "little")
    computed = int(google_crc32c.value(body))
    if len(data) <= _CRC_BYTES or stored != computed:
        raise DamagedError(f"{name}: checksum differs (stored {stored:08x}, computed {computed:08x}); {REMEDY}")
    whole = np.empty(shape, dtype="<f8")
    if _content_bytes(body) != whole.nbytes:
        raise DamagedError(f"{name}: expected a zstd frame of {list(shape)} numbers, found another; {REMEDY}")
    try:
        Zstd().decode(body, out=whole)
    except (RuntimeError, ValueError) as error:
        raise DamagedError(f"{name}: expected a zstd frame of {list(shape)} numbers ({error}); {REMEDY}") from error
    return whole.astype(np.float64, copy=False)


def limit_bytes(shape: tuple[int, ...]) -> int:
    """Return an upper bound for a chunk file of this shape. zstd adds little to data that it cannot compress."""
    content = 8 * math.prod(shape)
    return content + content // 128 + 1024


def _content_bytes(frame: bytes) -> int | None:
    """Return the size of the content that a zstd frame states (RFC 8878, section 3.1.1.1); None if it states none.

    It is checked before decompression: a small hostile file can claim gigabytes, or leave part of the target unwritten.
    """
    if len(frame) < 6 or not frame.startswith(_ZSTD_MAGIC):
        return None
    descriptor = frame[4]
    single_segment = descriptor & 0b100000 != 0
    field_bytes = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    start = 5 + (0 if single_segment else 1) + (0, 1, 2, 4)[descriptor & 0b11]
    size = int.from_bytes(frame[start : start + field_bytes], "little") + (256 if field_bytes == 2 else 0)
    return size if field_bytes else None
