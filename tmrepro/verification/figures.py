"""Compares two figures: their bytes, then their content (the pixels of a PNG, the drawing of a PDF)."""

from __future__ import annotations

import re
import zlib

from tmrepro.reporting.figures import compare_png
from tmrepro.spec.limits import FIGURE_BYTES
from tmrepro.verification.grades import Grade

PIXELS_DIFFERENT = 0.01  # share of a figure's pixels that another version of matplotlib may move

_PDF_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)


def grade_figure(stored: bytes, expected: bytes, *, pdf: bool, exact: bool) -> tuple[Grade | None, str]:
    """Grade a figure. None means that it cannot be graded.

    `exact`: both were drawn with the same packages, so no pixel may differ.

    Raises:
        DamagedError: `stored` is not a picture.
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
    """Return the drawing of a PDF without its compression, and without the offsets and lengths that depend on it."""
    outside = re.sub(rb"\d+", b"", _PDF_STREAM.sub(b"", pdf))
    return outside, [_unpacked(match[1]) for match in _PDF_STREAM.finditer(pdf)]


def _unpacked(stream: bytes) -> bytes:
    unpack = zlib.decompressobj()
    try:
        content = unpack.decompress(stream, FIGURE_BYTES)
    except zlib.error:
        return stream
    return content if unpack.eof else stream
