"""The record of a factory's code, and the differences of two records. A record from a run folder is untrusted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tmrepro.errors import DamagedError

ENTRIES_LIMIT = 10_000  # files, and distributions: more than any network is made of
NAME_LIMIT = 1_000  # characters of a file's name, a distribution's name or a version
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class CodeRecord:
    """The code of one factory.

    `files`: SHA-256 by name, relative to the folder from which Python imports it ("helpers/act.py"). `distributions`: version
    by name, of the installed packages that this code imports. `notes` say what could not be found; they are not compared.
    """

    files: Mapping[str, str]
    distributions: Mapping[str, str]
    notes: tuple[str, ...] = field(default=(), compare=False)

    def document(self) -> dict[str, dict[str, str]]:
        """Return the record as plain JSON values."""
        return {"files": dict(self.files), "distributions": dict(self.distributions)}


def code_from(document: Any, *, name: str) -> CodeRecord:
    """Return the record in `document`; `name` says where it was found.

    Raises:
        DamagedError: it is not a valid record.
    """
    if not isinstance(document, dict) or set(document) != {"files", "distributions"}:
        raise DamagedError(f"{name}: expected the files and distributions of a factory's code, found something else")
    for part, value in document.items():
        if not isinstance(value, dict) or len(value) > ENTRIES_LIMIT:
            raise DamagedError(f"{name}.{part}: expected names with texts, at most {ENTRIES_LIMIT}")
        for key, text in value.items():
            if not (_is_text(key) and _is_text(text)) or (part == "files" and not _DIGEST.fullmatch(text)):
                expected = "the SHA-256 of each file" if part == "files" else "the version of each distribution"
                raise DamagedError(f"{name}.{part}: expected {expected}, found something else")
    return CodeRecord(document["files"], document["distributions"])


def file_changes(here: CodeRecord, there: CodeRecord, *, names: tuple[str, str] = ("here", "there")) -> Iterator[str]:
    """Yield a message for every file in which two records differ."""
    for file in sorted({*here.files, *there.files}):
        ours, theirs = here.files.get(file), there.files.get(file)
        if ours is None or theirs is None:
            yield f"{file} is code {names[1] if ours is None else names[0]} only"
        elif ours != theirs:
            yield f"{file} differs (SHA-256 {ours[:16]} {names[0]}, {theirs[:16]} {names[1]})"


def version_changes(
    here: CodeRecord, there: CodeRecord, *, names: tuple[str, str] = ("here", "there")
) -> Iterator[tuple[str, str]]:
    """Yield the name and a message for every distribution in which two records differ."""
    for name in sorted({*here.distributions, *there.distributions}):
        ours, theirs = here.distributions.get(name), there.distributions.get(name)
        if ours != theirs:
            yield name, f"{name} {ours or 'not imported'} {names[0]}, {theirs or 'not imported'} {names[1]}"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= NAME_LIMIT
