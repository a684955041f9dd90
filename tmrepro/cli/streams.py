"""Standard input, output and error, which may be closed, a pipe without a reader, or not UTF-8.

A closed pipe is not an error, because the work is done anyway: output that nobody reads is discarded, and the exit code
is that of the work. A full disk is an error, because the output was requested as a file.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from typing import TextIO

LEAST_COLUMNS = 20
_REPLACED: list[TextIO] = []  # replaced streams; without a reference, a stream closes its file descriptor


def open_streams() -> None:
    """Open all three streams, so that they accept any text."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        _open_if_closed(number)
        stream: TextIO | None = getattr(sys, name)
        if number == 0:
            sys.stdin = stream if stream is not None else open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        else:
            setattr(sys, name, _forgiving(number, stream))
    columns = os.environ.get("COLUMNS")
    if columns is not None and not (columns.isascii() and columns.isdigit() and int(columns) >= LEAST_COLUMNS):
        del os.environ["COLUMNS"]  # tables without a width show nothing


def _open_if_closed(number: int) -> None:
    """Open /dev/null in place of a closed stream. Otherwise a file of the run could get its descriptor."""
    try:
        os.fstat(number)
    except OSError:
        _discard(number)


def _discard(number: int) -> None:
    """Redirect the stream `number` to /dev/null, in this process and in its children."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == number:  # the lowest free descriptor
        os.set_inheritable(number, True)  # noqa: FBT003 - it has no keyword argument
        return
    os.dup2(nowhere, number)
    os.close(nowhere)


def _forgiving(number: int, stream: TextIO | None) -> TextIO:
    """Return `stream`, or one on `number` that discards output without a reader and escapes characters it cannot encode."""
    if stream is not None and not _is_plain(stream, number):
        return stream  # replaced by a program that runs the command inside itself
    if stream is not None:
        stream.flush()
        _REPLACED.append(stream)
    return io.TextIOWrapper(
        io.BufferedWriter(_Raw(number, "wb", closefd=False)),
        encoding=stream.encoding if stream is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=number == 2 or (stream is not None and bool(stream.line_buffering)),
    )


def _is_plain(stream: TextIO, number: int) -> bool:
    try:
        return isinstance(stream, io.TextIOWrapper) and stream.fileno() == number
    except (OSError, ValueError):
        return False


class _Raw(io.FileIO):
    """The raw file below a text stream."""

    def write(self, data: object, /) -> int:
        """Write `data`. Discard it if there is no reader."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if not self._has_no_reader(error):
                raise
            _discard(self.fileno())
            return super().write(data)  # type: ignore[arg-type]

    def _has_no_reader(self, error: OSError) -> bool:
        """Return whether the pipe or the terminal was closed, or the shell reused the descriptor for its own file."""
        is_terminal = stat.S_ISCHR(os.fstat(self.fileno()).st_mode)
        return error.errno in {errno.EPIPE, errno.EBADF} or (error.errno == errno.EIO and is_terminal)
