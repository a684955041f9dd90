"""Writes files durably, and reads them without trust. No other module opens, renames or removes files of the store.

A write goes to a temporary name in the work folder, is flushed, and is renamed to the target. Then the target's folder is
flushed. After a crash at any moment, the target is the complete old file or the complete new one. A read refuses
links, pipes and files larger than the caller can use, because a run folder may be hostile.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

from tmrepro.errors import DamagedError, StorageError

WORK = ".work"


def work_folder(run: Path) -> Path:
    """Return the folder of a run for incomplete files. It is on the run's file system, so that a rename is atomic."""
    return run / WORK / "tmp"


def write_bytes(path: Path, data: bytes, *, work: Path) -> None:
    """Write `data` to `path` durably, replacing the old file. Create missing folders.

    Raises:
        StorageError: the disk is full, read-only or belongs to another user; the target is unchanged.
    """
    with _storage_errors(path):
        _make_folder(path.parent)
        _make_folder(work)
        temporary = work / f"{uuid.uuid4().hex}.tmp"
        try:
            _write_new(temporary, data)
            _replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _flush_folder(path.parent)


def write_text(path: Path, text: str, *, work: Path) -> None:
    """Write text as `write_bytes` does: UTF-8, line ends unchanged; undecodable bytes of file names are escaped."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"), work=work)


def make_folder(path: Path) -> None:
    """Make `path` and the folders above it, each durably. Existing folders are unchanged."""
    with _storage_errors(path):
        _make_folder(path)


def remove(path: Path) -> None:
    """Remove a file, or a folder with its content, durably. A link itself is removed, not its target."""
    with _storage_errors(path):
        if not os.path.lexists(path):
            return
        _remove(path)
        _flush_folder(path.parent)


def remove_last(path: Path) -> None:
    """Remove the last file of a folder, and the folder, durably. Another process may do the same, or create the folder again."""
    with _storage_errors(path):
        with contextlib.suppress(FileNotFoundError):
            _remove(path)
        try:
            _rmdir(path.parent)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST}:
                raise
        _flush_folder(path.parent.parent)


def safe_path(root: Path, relative: str) -> Path:
    """Return `root / relative`. Raise unless it is inside `root` and its path contains no link.

    Raises:
        DamagedError: `relative` is absolute or has `..`, a backslash, NUL, an empty part, or a symbolic link below `root`.
    """
    parts = relative.split("/")
    if any(part in {"", ".", ".."} for part in parts) or "\\" in relative or "\0" in relative:
        raise DamagedError(f"{shown(relative)}: expected a path inside {root}, found one that could lead outside")
    path = root
    for part in parts:
        path = path / part
        try:
            if stat.S_ISLNK(path.lstat().st_mode):
                raise DamagedError(f"{shown(relative)}: a symbolic link; a run folder may contain regular files only")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            raise DamagedError(f"{shown(relative)}: cannot be looked up ({error})") from error
    return path


def read_bytes(path: Path, *, limit_bytes: int, name: str | None = None) -> bytes:
    """Return the content of a plain file of at most `limit_bytes`. Messages call it `name`.

    Raises:
        DamagedError: the file is missing, a link, not a plain file, too large, or unreadable.
    """
    name = shown(name if name is not None else str(path))
    with open_plain(path, name=name) as file:
        data = file.read(limit_bytes + 1)
        size = max(os.fstat(file.fileno()).st_size, len(data))
    if size > limit_bytes:
        raise DamagedError(f"{name}: expected at most {limit_bytes} bytes, found {size}")
    return data


@contextlib.contextmanager
def open_plain(path: Path, *, name: str) -> Iterator[io.BufferedReader]:
    """Open a plain file for reading. Messages call it `name`.

    Raises:
        DamagedError: the file is missing, a link, not a plain file, or unreadable, also while the body reads it.
        StorageError: too many files are open; the file itself may be valid.
    """
    try:
        # O_NONBLOCK: otherwise, opening a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DamagedError(f"{shown(name)}: expected a plain file, found something else")
            with open(descriptor, "rb", closefd=False) as file:
                yield file
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedError(f"{shown(name)}: missing") from error
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            refuse_too_many(error, name=name)
        is_link = isinstance(error, OSError) and error.errno == errno.ELOOP
        why = "a symbolic link; expected a plain file" if is_link else f"cannot be read ({error})"
        raise DamagedError(f"{shown(name)}: {why}") from error


def refuse_too_many(error: OSError, *, name: str) -> None:
    """Raise StorageError if `name` could not be opened because too many files are open. Then it is not damaged.

    Raises:
        StorageError: too many files are open.
    """
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        raise StorageError(f"{shown(name)}: cannot be read: {_why(error)}, then run the same command again") from error


def shown(name: str) -> str:
    """Return a file name that is safe to print: control characters and undecodable bytes are escaped."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in name)


def storage_error(path: Path, error: OSError) -> StorageError:
    """Return the error to raise when `path` cannot be written, with the reason and the remedy."""
    return StorageError(f"{path}: cannot be written: {_why(error)}, then the same command continues where it stopped")


@contextlib.contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from error


def _why(error: OSError) -> str:
    """Return the reason for a failed operation, and the remedy."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "the disk is full; free some space"
        case errno.EROFS:
            return "the file system is read-only; make it writable or choose another --out"
        case errno.EACCES | errno.EPERM:
            return "permission denied; make the folder writable or choose another --out"
        case errno.EMFILE | errno.ENFILE:
            return "too many open files; allow more (ulimit -n), or use fewer --workers"
        case _:
            return f"{error.strerror or error}; correct this"


def _make_folder(path: Path) -> None:
    if path.is_dir():
        return
    if path != path.parent:
        _make_folder(path.parent)
    try:
        _mkdir(path)
    except FileExistsError:
        if not path.is_dir():
            raise
    _flush_folder(path.parent)


def _write_new(path: Path, data: bytes) -> None:
    descriptor = _open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[_write(descriptor, rest) :]
        _fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(path: Path) -> None:
    descriptor = _open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _fsync(descriptor)
    finally:
        os.close(descriptor)


# Each call that can fail on a full or broken disk has its own function, so that a test can make it fail.


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags, 0o666)


def _write(descriptor: int, data: memoryview) -> int:
    return os.write(descriptor, data)


def _fsync(descriptor: int) -> None:
    os.fsync(descriptor)


def _mkdir(path: Path) -> None:
    path.mkdir()


def _replace(source: Path, target: Path) -> None:
    source.replace(target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _rmdir(path: Path) -> None:
    path.rmdir()
