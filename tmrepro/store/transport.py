"""Changes of files in transport: line ends changed by git, an editor or a mail program, and pointers in place of content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

LIMIT_BYTES = 2**26  # tmrepro writes no larger text files
BOM = b"\xef\xbb\xbf"
COPY_AGAIN = "copy it again without conversion (git: '* -text' in .gitattributes)"

LAST_LINE = "its last line end was removed"
_MARK, _LINES = "a byte order mark was added", "its line ends were changed (CRLF for LF)"
_POINTER = b"version https://git-lfs.github.com/spec/"


def changed_on_the_way(data: bytes, digest: str) -> tuple[str, bytes] | None:
    """Describe the change of a file whose SHA-256 was `digest`, and return its old content; None if it cannot be undone."""
    for what, candidate in _undone(data):
        if hashlib.sha256(candidate).hexdigest() == digest:
            return " and ".join(what), candidate
    return None


def plain_line(raw: bytes, *, first: bool) -> tuple[bytes, list[str]]:
    """Return a line of text as it was written, and the changes since."""
    said = []
    if first and raw.startswith(BOM):
        raw = raw.removeprefix(BOM)
        said.append(_MARK)
    if raw.endswith(b"\r\n"):
        raw = raw.removesuffix(b"\r\n") + b"\n"
        said.append(_LINES)
    return raw, said


def is_pointer(data: bytes) -> bool:
    """Return whether `data` is the pointer that Git LFS writes for a file that it did not fetch."""
    return data.startswith(_POINTER)


def _undone(data: bytes) -> Iterator[tuple[list[str], bytes]]:
    """Yield every content from which such changes could have made `data`."""
    for mark in (False, True):
        if mark and not data.startswith(BOM):
            continue
        plain, said = (data.removeprefix(BOM), [_MARK]) if mark else (data, [])
        for lines in (False, True):
            if lines and b"\r" not in plain:
                continue
            text = plain.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if lines else plain
            told = [*said, _LINES] if lines else said
            yield told, text
            yield [*told, LAST_LINE], text + b"\n"
            yield [*told, "a line end was added"], text.removesuffix(b"\n")
