"""Reads a file or text as a resolved spec, or raises an error that lists all that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tmrepro.errors import FieldError, Finding, SpecError, UsageError
from tmrepro.spec.canonical import canonical_dict, dump_spec
from tmrepro.spec.checks import find_problems
from tmrepro.spec.document import MAX_BYTES, MAX_VALUES, first_findings, read_document
from tmrepro.spec.model import Spec
from tmrepro.spec.resolve import resolve
from tmrepro.spec.user_paths import user_path


def load_spec(path: Path | str) -> Spec:
    """Read the YAML file `path`. Return the resolved spec.

    Raises:
        SpecError: the file cannot be read, or the spec is invalid. The error has all findings with their lines.
    """
    source = str(path)
    try:
        with user_path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError, UsageError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError([Finding(source, 1, 1, "", f"cannot be read: {reason}")]) from error
    return decode_spec(content, source=source)


def decode_spec(content: bytes, *, source: str) -> Spec:
    """Call `parse_spec` for the bytes of a file: UTF-8, with or without a byte order mark.

    Raises:
        SpecError: as `parse_spec`.
    """
    try:
        text = content.decode("utf-8-sig" if len(content) <= MAX_BYTES else "latin-1")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        message = f"the byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise SpecError([Finding(source, line, column, "", message)]) from error
    return parse_spec(text, source=source)


def parse_spec(text: str, *, source: str = "<string>") -> Spec:
    """Return the resolved spec that the YAML `text` describes. Each finding begins with `source`.

    Raises:
        SpecError: the spec is invalid. The error has all findings with their lines.
    """
    document = read_document(text, source=source)
    raw = document.root.plain()
    found = [document.find(location, message) for location, message in find_problems(raw)]
    findings = list(dict.fromkeys([*document.findings, *(finding for finding in found if finding)]))
    if findings:
        raise SpecError(first_findings(findings))
    spec = resolve(Spec.model_validate(raw))
    size, values = len(dump_spec(spec).encode()), _values(canonical_dict(spec))
    if size > MAX_BYTES or values > MAX_VALUES:
        message = (
            f"has {size} bytes and {values} values once every default is written out; "
            f"at most {MAX_BYTES} and {MAX_VALUES} can be read again"
        )
        raise SpecError([Finding(source, 1, 1, "", message)])
    return spec


def blame(path: Path | str, error: FieldError) -> SpecError:
    """Return `error` with the line and column of its field in the spec file `path`, which was read before."""
    source = str(path)
    with user_path(path).open("rb") as file:
        text = file.read(MAX_BYTES + 1).decode("utf-8-sig", errors="replace")
    found = read_document(text, source=source).find(error.location, error.message)
    return SpecError([found or Finding(source, 1, 1, "", error.message)])


def _values(plain: Any) -> int:
    """Return the number of values in a document of `plain`, with keys and collections, as the reader counts."""
    match plain:
        case dict():
            return 1 + sum(1 + _values(below) for below in plain.values())
        case list():
            return 1 + sum(_values(item) for item in plain)
        case _:
            return 1
