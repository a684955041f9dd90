"""Are two figures the same picture? By their bytes, then by what the bytes say: pixels of a PNG, drawing of a PDF."""

from __future__ import annotations

import re
import zlib

from tmrepro.figures import compare_png
from tmrepro.limits import FIGURE_BYTES
from tmrepro.verify.grades import Grade

PIXELS_DIFFERENT = 0.01  # share of a figure's pixels that another version of matplotlib may move

_PDF_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)


def grade_figure(stored: bytes, expected: bytes, *, pdf: bool, exact: bool) -> tuple[Grade | None, str]:
    """Grade a picture; None where nothing can be said.

    `exact`: both were drawn by the same packages, so no pixel may differ.

    Raises:
        DamagedError: `stored` is no picture.
    """
    if stored == expected:
        return "identical", "the same bytes"
    if pdf:
        if _drawing(stored) == _drawing(expected):
            return "equal", "the same drawing, compressed differently"
        return ("different", "another drawing") if exact else (None, "drawn with other versions of packages")
    difference = compare_png(expected, stored)
    if difference.identical:
        return "equal", "the same pixels, compressed differently"
    if not difference.same_size:
        return "different", "another size"
    detail = f"{difference.share_different:.2%} of the pixels differ, by up to {difference.max_difference} of 255"
    return ("equal" if not exact and difference.share_different <= PIXELS_DIFFERENT else "different"), detail


def _drawing(pdf: bytes) -> tuple[bytes, list[bytes]]:
    """What a PDF draws, however its streams were compressed: offsets and lengths, which follow from that, left out."""
    outside = re.sub(rb"\d+", b"", _PDF_STREAM.sub(b"", pdf))
    return outside, [_unpacked(match[1]) for match in _PDF_STREAM.finditer(pdf)]


def _unpacked(stream: bytes) -> bytes:
    unpack = zlib.decompressobj()
    try:
        content = unpack.decompress(stream, FIGURE_BYTES)
    except zlib.error:
        return stream
    return content if unpack.eof else stream
