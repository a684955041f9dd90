"""Standard input, output and error as a command finds them: closed, a pipe that nobody reads, or not UTF-8.

What a command does is not undone by a reader that goes away, so such a reader is no error: what it would have read is
dropped, and the exit code is that of the work. A full disk is an error, because somebody asked for a file.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from typing import TextIO

LEAST_COLUMNS = 20
_REPLACED: list[TextIO] = []  # a stream that nobody keeps closes its number


def open_streams() -> None:
    """Give the process all three streams, which accept whatever is written to them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        _open_if_closed(number)
        stream: TextIO | None = getattr(sys, name)
        if number == 0:
            sys.stdin = stream if stream is not None else open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        else:
            setattr(sys, name, _forgiving(number, stream))
    columns = os.environ.get("COLUMNS")
    if columns is not None and not (columns.isascii() and columns.isdigit() and int(columns) >= LEAST_COLUMNS):
        del os.environ["COLUMNS"]  # tables of no width show nothing


def _open_if_closed(number: int) -> None:
    """Open /dev/null in place of a closed stream, before a file of the run gets its number and a library writes to it."""
    try:
        os.fstat(number)
    except OSError:
        _discard(number)


def _discard(number: int) -> None:
    """Let the stream `number` lead to /dev/null, here and in the processes that this one starts."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == number:  # the lowest number that was free
        os.set_inheritable(number, True)  # noqa: FBT003 - it takes no name
        return
    os.dup2(nowhere, number)
    os.close(nowhere)


def _forgiving(number: int, stream: TextIO | None) -> TextIO:
    """`stream`, or one with the number `number`, that drops what no reader wants and escapes what it has no letters for."""
    if stream is not None and not _is_plain(stream, number):
        return stream  # of whoever runs the command inside another program
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
    """The bytes below a stream."""

    def write(self, data: object, /) -> int:
        """Write `data`; once the reader is gone, to nowhere."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if not self._has_no_reader(error):
                raise
            _discard(self.fileno())
            return super().write(data)  # type: ignore[arg-type]

    def _has_no_reader(self, error: OSError) -> bool:
        """A pipe that was closed, a number that a shell gave to a file of its own, or a terminal that is gone."""
        is_terminal = stat.S_ISCHR(os.fstat(self.fileno()).st_mode)
        return error.errno in {errno.EPIPE, errno.EBADF} or (error.errno == errno.EIO and is_terminal)
