"""Bytes that a hostile file may hold: code in disguise, sizes that lie, numbers that break arithmetic.

Whatever here could run code would create the file `marker`; the harness looks for it after each case.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.zstd import Zstd

ODD_FLOATS = (0.0, -0.0, 1.0, -1.0, 1e308, -1e308, 5e-324, 1e-300, 1e16, float("nan"), float("inf"), float("-inf"))
ODD_WEIGHTS = (0.0, -0.0, 1e38, -3e38, 1e-45, float("nan"), float("inf"), float("-inf"))
# As JSON texts, since some of them are no JSON.
ODD_JSON = (
    "null", "true", "false", "0", "-1", "1", "2.5", "1e999", "-1e999", "NaN", "Infinity", "-Infinity", "1e308", "-0.0",
    "9" * 30, "9" * 5000, "4097", "1000000000000", '""', '"x"', '"../../outside"', '"/etc/passwd"', '"\\u001b[31mred"',
    '"\\ud800"', '"\\u0000"', '"' + "a" * 70_000 + '"', "[]", "{}", "[[]]", '{"a": 1, "a": 2}', "[1, 2", "'x'", "01",
    "[" * 100 + "]" * 100, "[" * 100_000, '{"a":' * 100_000, "[" + "0," * 50_000 + "0]", '{"__class__": "os.system"}',
)  # fmt: skip


class _Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return io.open, (str(self.marker), "w")


def pickled(marker: Path) -> bytes:
    """What creates `marker` when it is unpickled."""
    return pickle.dumps(_Payload(marker), protocol=2)


def torch_file(marker: Path) -> bytes:
    """The same as a file of torch.save: a zip with a pickle in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(marker))
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def npy(header: str, content: bytes = b"", *, version: tuple[int, int] = (1, 0)) -> bytes:
    """A .npy file with any header."""
    size = 2 if version == (1, 0) else 4
    text = header.encode("latin-1", errors="replace").ljust(117) + b"\n"
    return b"\x93NUMPY" + bytes(version) + len(text).to_bytes(size, "little") + text + content


def odd_npy(random_: random.Random, marker: Path) -> bytes:
    """Labels that are none, or none that fit."""
    head = "{{'descr': '{}', 'fortran_order': {}, 'shape': {}, }}".format
    return random_.choice(
        [
            npy(head("|O", False, "(1,)"), pickled(marker)),
            npy(head("|O", False, "()"), pickled(marker), version=(2, 0)),
            npy(head("<i8", False, "(1000000000000,)")),
            npy(head("<i8", False, f"({2**61},)"), bytes(8)),
            npy(head("<f4", False, "(20, 1000000000)")),
            npy(head("<i8", False, "(20,)"), np.arange(20, dtype="<i8").tobytes()),
            npy(head("<i8", False, "(20,)"), np.full(20, -1, dtype="<i8").tobytes()),
            npy(head("<i8", False, "(20,)"), np.full(20, 2**62, dtype="<i8").tobytes()),
            npy(head("<i8", False, "(3,)"), bytes(24)),
            npy(head("<i8", False, "(0,)")),
            npy(head("<f4", False, "(20, 10)"), np.full(200, np.nan, dtype="<f4").tobytes()),
            npy(head("<f4", False, "(20, 10)"), np.full(200, 0.1, dtype="<f4").tobytes()),
            npy(head("<f4", False, "(20, 3)"), bytes(240)),
            npy(head("<f4", True, "(20, 10)"), bytes(800)),
            npy(head("<U4000000", False, "(20,)")),
            npy("__import__('io').open('marker', 'w')"),
            npy("(" * 100),
            pickled(marker),
        ]
    )


def safetensors(header: object, content: bytes = b"", *, length: int | None = None) -> bytes:
    """A safetensors file with any header, whose stated length may lie."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def odd_safetensors(random_: random.Random, marker: Path, *, whole: bytes) -> bytes:
    """Weights that are none, or none that fit; `whole` is a file that does."""
    size = struct.unpack("<Q", whole[:8])[0]
    header, content = json.loads(whole[8 : 8 + size]), whole[8 + size :]
    key = random_.choice([name for name in header if name != "__metadata__"])
    entry = header[key]

    def changed(**fields: object) -> bytes:
        return safetensors({**header, key: {**entry, **fields}}, content)

    numbers = np.frombuffer(content, dtype="<f4")
    return random_.choice(
        [
            pickled(marker),
            torch_file(marker),
            safetensors(header, content, length=2**63),
            safetensors(header, content, length=2**24),
            safetensors(header, content, length=0),
            safetensors(b"[" * 100_000, content),
            safetensors([1], content),
            safetensors({}, b""),
            safetensors({"__metadata__": {"a": "b"}}, b""),
            safetensors({**header, "__metadata__": [1]}, content),
            changed(shape=[2**40, 2**40]),
            changed(shape=[2**63, 2]),
            changed(shape=[-1]),
            changed(shape=[0]),
            changed(shape="x"),
            changed(shape=[True]),
            changed(data_offsets=[0, 2**62]),
            changed(data_offsets=[0, len(content)]),
            changed(data_offsets=[8, 0]),
            changed(dtype="F64"),
            changed(dtype="BF16"),
            changed(dtype="O"),
            changed(dtype="BOOL"),
            safetensors({name: value for name, value in header.items() if name != key}, content),
            safetensors({**header, "extra": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}, content),
            safetensors(header, np.full_like(numbers, random_.choice(ODD_WEIGHTS)).tobytes()),
            safetensors(header, random_.randbytes(len(content))),
            safetensors(header, content[:-4]),
            safetensors(header, content + bytes(8)),
        ]
    )


def chunk(content: bytes) -> bytes:
    """A chunk file with both its checksums right, whatever it holds."""
    body = bytes(Zstd(level=3, checksum=True).encode(content))
    return body + int(google_crc32c.value(body)).to_bytes(4, "little")


def odd_chunk(random_: random.Random, marker: Path, *, whole: bytes) -> bytes:
    """A chunk of other numbers, or of none, mostly with the right checksum; `whole` is one of the right size."""
    numbers = len(bytes(Zstd().decode(whole[:-4]))) // 8
    huge = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 2**40) + b"\x01\x00\x00"
    bodies = [huge, huge[:6], pickled(marker), b"", b"\x50\x2a\x4d\x18" + struct.pack("<I", 2**31), whole[:-4] * 2]
    odd = [value for value in ODD_FLOATS for _ in range(2)]
    return random_.choice(
        [
            chunk(np.array([random_.choice(odd) for _ in range(numbers)]).tobytes()),
            chunk(np.array([random_.choice(ODD_FLOATS)] * numbers).tobytes()),
            chunk(random_.randbytes(8 * numbers)),
            chunk(np.sort(np.frombuffer(random_.randbytes(8 * numbers))).tobytes()),
            chunk(bytes(8 * numbers - 8)),
            chunk(bytes(8 * numbers + 8)),
            chunk(bytes(2**26)),
            *(body + int(google_crc32c.value(body)).to_bytes(4, "little") for body in bodies),
        ]
    )


def png(width: int, height: int, *, depth: int = 8, kind: int = 2, pixels: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG that says what it likes; `extra` are further chunks."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    data = zlib.compress(pixels or bytes(64), 9)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", data) + png_chunk(b"IEND")


def png_chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def eps(marker: Path) -> bytes:
    """An Encapsulated PostScript that writes a file when Ghostscript draws it."""
    return f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n({marker}) (w) file closefile\nshowpage\n".encode()
