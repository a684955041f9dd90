"""Checks files with untrusted names before they are opened."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

from tmrepro.errors import DataError


def size_of_regular_file(path: Path, *, unreadable: Callable[[Path, str], DataError]) -> int:
    """Return the size in bytes of a regular file. A pipe is refused, because opening it would block for ever.

    Raises:
        DataError: there is no such file. `unreadable` makes the error from the path and the reason.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error
    if not stat.S_ISREG(found.st_mode):
        raise unreadable(path, "not a regular file")
    return found.st_size
