"""The lock of a run folder: one process at a time. It is a kernel lock, which is released if its process is killed."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tmrepro.errors import DamagedError, UsageError
from tmrepro.store.atomic import (
    WORK,
    make_folder,
    read_bytes,
    remove,
    remove_last,
    safe_path,
    storage_error,
    work_folder,
    write_text,
)
from tmrepro.store.manifest import refuse_strange

# A process that takes the lock needs a moment to write its pid, and a process that is done, to remove the lock.
PATIENCE_SECONDS = 1.0

_LOCK = "lock"


@contextlib.contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Hold RUN/.work/lock while the body runs. The body may call `remove_work` when the run is complete.

    Every write to a run folder starts here, so a folder with links is refused here.

    Raises:
        UsageError: a running process holds the lock.
        DamagedError: the folder contains something other than plain files and folders.
        StorageError: the folder cannot be written.
    """
    path, holder = safe_path(run, f"{WORK}/{_LOCK}"), safe_path(run, f"{WORK}/holder")
    lock, begun = FileLock(path), os.path.lexists(run / WORK)
    try:
        _acquire(lock, path)
    except Timeout as error:
        raise UsageError(
            f"another process (pid {_pid(holder)}) is working in this folder; wait for it or choose another --out"
        ) from error
    except OSError as error:
        raise storage_error(path, error) from error
    try:
        try:
            refuse_strange(run)
        except DamagedError:
            if not begun:  # leave a refused folder unchanged
                remove_work(run)
            raise
        write_text(holder, f"{os.getpid()}\n", work=work_folder(run))
        yield
    finally:
        lock.release()


def remove_work(run: Path) -> None:
    """Remove RUN/.work. The caller holds its lock, which is removed last, so that no other process starts earlier.

    Raises:
        StorageError: the folder cannot be written.
    """
    work = run / WORK
    for path in sorted(work.iterdir()) if work.is_dir() else ():
        if path.name != _LOCK:
            remove(path)
    remove_last(work / _LOCK)  # from here on, another process may create its own lock there


def _acquire(lock: FileLock, path: Path) -> None:
    """Take the lock. Create its folder, which another process may be removing."""
    for _ in range(3):
        _refuse_other_file(path)
        make_folder(path.parent)
        with contextlib.suppress(FileNotFoundError):
            lock.acquire(timeout=PATIENCE_SECONDS)
            return
    raise Timeout(str(path))


def _refuse_other_file(path: Path) -> None:
    """Raise DamagedError if the lock file has a second name, because locking empties it."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise DamagedError(f"{path}: expected a lock file of tmrepro, found something else; remove it")


def _pid(holder: Path) -> str:
    # filelock may empty the lock file of its holder, so the number is in a separate file.
    with contextlib.suppress(DamagedError, ValueError):
        return str(int(read_bytes(holder, limit_bytes=32)))
    return "unknown"
