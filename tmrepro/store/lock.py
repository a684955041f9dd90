"""One process at a time works in a run folder. The lock is the kernel's, so that a killed process never leaves it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tmrepro.errors import DamagedError, StorageError, UsageError
from tmrepro.store.atomic import WORK, make_folder, read_bytes, safe_path, work_folder, write_text


@contextlib.contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Hold RUN/.work/lock while the body runs; the body may remove `.work` when the run is complete.

    Raises:
        UsageError: a living process holds it.
        StorageError: the folder cannot be written.
    """
    path, holder = safe_path(run, f"{WORK}/lock"), safe_path(run, f"{WORK}/holder")
    make_folder(path.parent)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            f"another process (pid {_pid(holder)}) is working in this folder; wait for it or choose another --out"
        ) from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be locked: {error.strerror or error}; choose another --out") from error
    try:
        write_text(holder, f"{os.getpid()}\n", work=work_folder(run))
        yield
    finally:
        lock.release()


def _pid(holder: Path) -> str:
    # filelock may empty the lock file of whoever holds it, so the number stands in a file of its own.
    with contextlib.suppress(DamagedError, ValueError):
        return str(int(read_bytes(holder, limit_bytes=32)))
    return "unknown"
