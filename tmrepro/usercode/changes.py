"""Compares a factory's code with the record of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tmrepro.errors import UsageError
from tmrepro.usercode.record import CodeRecord, file_changes, version_changes
from tmrepro.usercode.trace import code_as_read


@dataclass(frozen=True)
class CodeChanges:
    """How the present code differs from a record: a message per file, and (name, message) per distribution."""

    files: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]


def changes_since(recorded: CodeRecord, *, factory: str, find: Callable[[], CodeRecord]) -> CodeChanges:
    """Return how the code of a factory, which `find` finds by using it, differs from the code that a run `recorded`.

    Raises:
        UsageError: what `find` raises, unless a changed file explains it.
    """
    names = ("here", "in the run")
    try:
        here = find()
    except UsageError:
        read = code_as_read(factory)
        common = {name: digest for name, digest in read.files.items() if name in recorded.files}
        known = {name: digest for name, digest in recorded.files.items() if name in common}
        files = tuple(file_changes(CodeRecord(common, {}), CodeRecord(known, {}), names=names))
        if not files:
            raise
        return CodeChanges(files, ())
    versions = tuple(version_changes(here, recorded, names=names))
    return CodeChanges(tuple(file_changes(here, recorded, names=names)), versions)
