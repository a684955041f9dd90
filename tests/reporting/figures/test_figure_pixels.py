"""Pictures compared by pixels: what differs is counted and shown, and a hostile file does no harm."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tmrepro.errors import DamagedError
from tmrepro.reporting.figures import PixelDifference, compare_png, difference_png


def png(pixels: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def pixels_of(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(3).integers(10, 240, size=(4, 5, 3), dtype=np.uint8)


def test_same_pixels_in_other_bytes_are_identical(picture):
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=0)
    assert buffer.getvalue() != png(picture)
    assert compare_png(buffer.getvalue(), png(picture)) == PixelDifference(
        same_size=True, identical=True, share_different=0.0, max_difference=0, mean_difference=0.0
    )


def test_difference_is_counted_in_both_directions(picture):
    changed = picture.copy()
    changed[1, 2, 0] -= 7
    changed[3, 4] += 2
    found = compare_png(png(picture), png(changed))
    assert (found.same_size, found.identical) == (True, False)
    assert found.share_different == pytest.approx(2 / 20)
    assert found.max_difference == 7
    assert found.mean_difference == pytest.approx((7 + 3 * 2) / (20 * 4))  # four channels: alpha is compared too


def test_other_size_differs_everywhere(picture):
    found = compare_png(png(picture), png(picture[:3]))
    assert found == PixelDifference(
        same_size=False, identical=False, share_different=1.0, max_difference=255, mean_difference=255.0
    )


def test_picture_of_the_difference_is_red_exactly_where_pixels_differ(picture):
    changed = picture.copy()
    changed[2, 1, 1] += 1
    shown = pixels_of(difference_png(png(picture), png(changed))).astype(int)
    red = shown[..., 0] - shown[..., 1] > 60
    assert np.argwhere(red).tolist() == [[2, 1]]


def test_picture_of_the_difference_covers_both_sizes(picture):
    shown = pixels_of(difference_png(png(picture[:, :3]), png(picture[:2]))).astype(int)
    assert shown.shape == (4, 5, 3)
    red = shown[..., 0] - shown[..., 1] > 60
    assert not red[:2, :3].any()
    assert red[2:].all()
    assert red[:, 3:].all()


def test_what_is_not_a_png_is_refused(picture):
    jpeg = BytesIO()
    Image.fromarray(picture).save(jpeg, format="JPEG")
    for data in (b"", b"not a picture", jpeg.getvalue(), png(picture)[:-30]):
        with pytest.raises(DamagedError, match="result figure"):
            compare_png(png(picture), data)
    with pytest.raises(DamagedError, match="reference figure"):
        compare_png(b"", png(picture))


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_picture_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(picture, side):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    bomb = b"\x89PNG\r\n\x1a\n" + header + body
    with pytest.raises(DamagedError, match=r"pixels|decompression"):
        compare_png(png(picture), bomb)
