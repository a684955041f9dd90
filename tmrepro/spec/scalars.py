"""Reads and writes scalars of YAML 1.2's core schema: `1e-3` is a number, `no` is text, unlike in YAML 1.1."""

from __future__ import annotations

import json
import math
import re
from typing import Any

Scalar = None | bool | int | float | str

_NULLS = {"", "~", "null", "Null", "NULL"}
_TRUE, _FALSE = {"true", "True", "TRUE"}, {"false", "False", "FALSE"}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITY = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_NAN = {".nan", ".NaN", ".NAN"}
# Python refuses to convert longer ones, and no field takes a number of more than 16 digits.
MAX_DIGITS = 1000

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
# What this reader or a YAML 1.1 reader would not read as text.
_RESERVED = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan"}


def read_scalar(text: str) -> Scalar:
    """Return the value of a plain (unquoted) scalar.

    Raises:
        ValueError: a number of more than 1000 digits.
    """
    if text in _NULLS:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text) or _BASED.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise ValueError(f"a number of {len(text)} digits")
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _INFINITY.fullmatch(text):
        return -math.inf if match[1] == "-" else math.inf
    return math.nan if text in _NAN else text


def write_scalar(value: Scalar) -> str:
    """Return `value` as text that this reader, and readers of YAML 1.1 and of JSON, read as the same value."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            digits = repr(value)
            return digits.replace("e", ".0e") if "e" in digits and "." not in digits else digits
        case str() if _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
            return value
        case str():
            return '"' + "".join(_escaped(character) for character in value) + '"'


def write_flow(value: Any) -> str:
    """Return `value`, JSON-like, on one line: `[128, 64]`, `{depth: 3}`."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{write_scalar(key)}: {write_flow(below)}" for key, below in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(write_flow(item) for item in value) + "]"
    return write_scalar(value)


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return json.dumps(character)[1:-1] if code <= 0xFFFF else f"\\U{code:08x}"
