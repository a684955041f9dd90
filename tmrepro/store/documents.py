"""JSON documents, and history.csv. Equal content gives equal bytes. Reading is strict.

Strict means: UTF-8, no NaN or Infinity (nor a number that becomes one), no integer beyond 64 bits, no duplicate key, and
limits on size, depth and number of values: a value takes a hundred times the memory of its text.
"""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, cast

from tmrepro.errors import DamagedError
from tmrepro.records import Epoch, History
from tmrepro.store.atomic import read_bytes, shown, write_text

JSON_LIMIT_BYTES = 192 * 2**20  # provenance.json lists every chunk file of a run, up to half a million
JSON_LIMIT_DEPTH = 64
JSON_LIMIT_VALUES = 2**21
HISTORY_LIMIT_BYTES = 64 * 2**20

_SURROGATE = re.compile("[\ud800-\udfff]")
_COLUMNS = tuple(field.name for field in fields(Epoch))
_MAY_BE_UNDEFINED = {"train_accuracy", "validation_accuracy"}


def write_json(path: Path, value: object, *, work: Path) -> None:
    """Write `value` with the order of keys unchanged. NaN and infinities raise ValueError; store None instead."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, indent=2) + "\n"
    # Undecodable bytes of a file name are escaped with a backslash, since readers reject a lone surrogate.
    text = _SURROGATE.sub(lambda found: rf"\\u{ord(found[0]):x}", text)
    write_text(path, text, work=work)


def read_json(path: Path, *, limit_bytes: int = JSON_LIMIT_BYTES, name: str | None = None) -> Any:
    """Read a JSON file that may be hostile. Messages call it `name`.

    Raises:
        DamagedError: the file is missing or is not strict JSON.
    """
    name = name if name is not None else str(path)
    return parse_json(read_bytes(path, limit_bytes=limit_bytes, name=name), name=name)


def parse_json(data: bytes, *, name: str) -> Any:
    """Return the value of strict JSON, as `read_json` does."""
    try:
        value = json.loads(
            _bounded(data),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
        _check_values(value, texts=b"\\u" in data)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{shown(name)}: expected strict JSON, found: {shown(str(error))}") from error
    return value


def save_history(path: Path, history: History, *, work: Path) -> None:
    """Write history.csv: a column per field of an epoch, numbers in their shortest exact form, an empty field for None."""
    lines = [",".join(_COLUMNS)]
    for epoch in history.epochs:
        number, *values = astuple(epoch)
        lines.append(",".join([str(int(number)), *map(_written, values)]))
    write_text(path, "\n".join(lines) + "\n", work=work)


def load_history(path: Path, *, name: str | None = None) -> History:
    """Return the history of one training, exactly as it was saved.

    Raises:
        DamagedError: the file is missing, or has a line that `save_history` does not write.
    """
    name = name if name is not None else str(path)
    data = read_bytes(path, limit_bytes=HISTORY_LIMIT_BYTES, name=name)
    header, *rows = data.decode("ascii", errors="replace").removesuffix("\n").split("\n")
    if header != ",".join(_COLUMNS):
        raise DamagedError(f"{shown(name)}:1: expected the columns {','.join(_COLUMNS)}, found {shown(header[:200])}")
    return History(tuple(_epoch(row, number=number, name=name) for number, row in enumerate(rows, start=1)))


def _epoch(row: str, *, number: int, name: str) -> Epoch:
    try:
        numbers = [None if value == "" else float(value) for value in row.split(",")[1:]]
    except ValueError:
        numbers = []
    values = dict(zip(_COLUMNS[1:], numbers, strict=False))
    undefined = {name for name, value in values.items() if value is None}
    # Only the canonical form is valid: `save_history` never writes "1_0", " 1" or "+1".
    if (
        len(numbers) != len(_COLUMNS) - 1
        or undefined not in (set(), _MAY_BE_UNDEFINED)
        or row != ",".join([str(number), *map(_written, numbers)])
    ):
        raise DamagedError(
            f"{shown(name)}:{number + 1}: expected epoch {number} and {len(_COLUMNS) - 1} numbers, "
            f"found {shown(row[:200])}"
        )
    return Epoch(number, **cast("dict[str, Any]", values))


def _written(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def _bounded(data: bytes) -> str:
    """Return the text, if its number of values is within the limit. Each value except the first has a separator before it."""
    if sum(map(data.count, (b",", b"[", b"{"))) > JSON_LIMIT_VALUES:
        raise ValueError(f"more than {JSON_LIMIT_VALUES} values")
    text = data.decode("utf-8")
    if sys.getsizeof(text) > JSON_LIMIT_BYTES + 1024:  # with a single emoji, Python uses four bytes for each character
        raise ValueError(f"{len(text)} characters, too many for a text that is not ASCII")
    return text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a duplicate key in an object")
    return found


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text}, which is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]}, which is too large for a number")
    return value


def _whole(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"{text[:40]}, which is too large for a whole number")
    return int(text)


def _check_values(value: Any, *, texts: bool) -> None:
    """Raise ValueError if `value` has too many levels or half a surrogate pair, which is valid JSON but cannot be printed.

    Only an escape can give half a pair, so texts are checked only on request.
    """
    level = [value]
    for _ in range(JSON_LIMIT_DEPTH):
        below: list[Any] = []
        for outer in level:
            if isinstance(outer, dict):
                below += outer.values()
                below += outer if texts else ()
            elif isinstance(outer, list):
                below += outer
            elif texts and isinstance(outer, str):
                outer.encode("utf-8")
        if not below:
            return
        level = below
    raise ValueError(f"more than {JSON_LIMIT_DEPTH} levels")
