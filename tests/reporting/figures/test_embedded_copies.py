"""Copies of figures in pages: near enough to be looked at, and no larger than asked."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tmrepro.errors import DamagedError
from tmrepro.reporting.figures import Embedded, embed
from tmrepro.reporting.figures.embedded import KEPT_BYTES

PLENTY = 10**9


def noise(width: int, height: int, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)


def data_of(copy: Embedded) -> bytes:
    return b64decode(copy.uri.partition(",")[2])


def test_copy_is_as_large_and_no_channel_is_more_than_4_off():
    png = noise(120, 70)
    (copy,) = embed([png], most=PLENTY).values()
    assert copy.uri.startswith("data:image/webp;base64,")
    assert (copy.width, copy.height) == (120, 70)
    assert abs(pixels(data_of(copy)) - pixels(png)).max() <= 4
    assert len(data_of(copy)) < len(png)


def test_black_and_white_stay_black_and_white():
    grid = np.zeros((200, 300, 3), dtype=np.uint8)
    grid[np.random.default_rng(0).random((200, 300)) < 0.5] = 255
    buffer = BytesIO()
    Image.fromarray(grid).save(buffer, format="PNG", compress_level=0)
    (copy,) = embed([buffer.getvalue()], most=PLENTY).values()
    assert (pixels(data_of(copy)) == grid).all()


def test_small_picture_stays_as_it_is():
    png = noise(3, 2)
    assert len(png) <= KEPT_BYTES
    (copy,) = embed([png], most=PLENTY).values()
    assert data_of(copy) == png


@pytest.mark.parametrize("share", [1.0, 0.5, 0.2, 0.05])
def test_all_copies_together_are_no_larger_than_asked(share):
    pictures = [noise(300, 200, seed) for seed in range(3)]
    whole = sum(len(copy.uri) for copy in embed(pictures, most=PLENTY).values())
    copies = embed([*pictures, pictures[0]], most=int(share * whole))
    assert list(copies) == pictures
    assert sum(len(copy.uri) for copy in copies.values()) <= share * whole
    assert len({copy.width / copy.height for copy in copies.values()}) == 1


def test_smallest_copies_are_given_where_nothing_fits():
    (copy,) = embed([noise(400, 200)], most=0).values()
    assert (copy.width, copy.height) == (100, 50)


def test_sheet_that_is_longer_than_the_format_allows_is_made_shorter():
    (copy,) = embed([noise(4, 20_000)], most=PLENTY).values()
    assert (copy.width, copy.height) == (3, 16_383)


def test_what_is_no_picture_is_damage():
    with pytest.raises(DamagedError, match="cannot be read as a PNG"):
        embed([b"GIF89a"], most=PLENTY)
