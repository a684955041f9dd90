"""Checks files with untrusted names before they are opened."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

from tmrepro.errors import DataError


def size_of_regular_file(path: Path, *, unreadable: Callable[[Path, str], DataError]) -> int:
    """The size in bytes of a regular file. A pipe, which would block for ever on being opened, is none.

    Raises:
        DataError: as `unreadable` makes it of the path and the reason, if there is no such file.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error
    if not stat.S_ISREG(found.st_mode):
        raise unreadable(path, "not a regular file")
    return found.st_size
