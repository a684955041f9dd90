"""`tmrepro spec explain` on a terminal: wraps lines by words, and shows equal sections once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from textwrap import TextWrapper
from typing import Any

from tmrepro.spec import Explanation
from tmrepro.spec.scalars import write_flow

_SECTION = re.compile(r"training(?=\.)|\w+\[\d+\]\.\w+(?=\.)")  # training, models[0].training, surfaces[1].grid


def wrap_explanations(rows: Sequence[Explanation], *, width: int) -> str:
    """Return every value with its reason below it, in lines of at most `width` characters.

    A section of a model or surface with the same values as `training`, or as an earlier section, takes one line.
    """
    lines: list[str] = []
    for head, reason in _folded(rows):
        lines += _wrapped(head, width=width, first="", rest="    ")
        lines += _wrapped(reason, width=width, first="  ", rest="  ") if reason else []
    return "".join(f"{line}\n" for line in lines)


def _folded(rows: Sequence[Explanation]) -> Iterator[tuple[str, str]]:
    """Yield the value and the reason of each row. A section that is shown elsewhere yields one line."""
    told_as = _repeated(rows)
    said: set[str] = set()
    for row in rows:
        section = _section(row)
        if section not in told_as:
            yield _said(row)
        elif section not in said:
            said.add(section)
            yield f"{section}: as {told_as[section]}", ""


def _repeated(rows: Sequence[Explanation]) -> dict[str, str]:
    """Map each repeated section to the section with the same values that is shown in full."""
    values: dict[str, dict[str, Any]] = {}
    for row in rows:
        section = _section(row)
        if section:
            values.setdefault(section, {})[row.path.removeprefix(section)] = row.value
    found: dict[str, str] = {}
    for section, own in values.items():
        kind = section.rpartition(".")[2]
        earlier = (other for other in values if other.endswith(f".{kind}") and values[other] == own)
        told_as = kind if values.get(kind) == own else next(earlier)
        if told_as != section:
            found[section] = told_as
    return found


def _section(row: Explanation) -> str:
    found = _SECTION.match(row.path)
    return found[0] if found else ""


def _said(row: Explanation) -> tuple[str, str]:
    given = "" if row.default else f"   (from the spec{f'; default {row.usual}' if row.usual is not None else ''})"
    return f"{row.path}: {write_flow(row.value)}{given}", f"paper, {row.paper}" if row.paper else f"ours: {row.reason}"


def _wrapped(text: str, *, width: int, first: str, rest: str) -> list[str]:
    return TextWrapper(width=width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False).wrap(text)
