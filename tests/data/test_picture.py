"""Pictures come through pixel by pixel; whatever isn't one is named and refused."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tmrepro.data.picture import read_picture, shown
from tmrepro.errors import DataError

PIXELS = np.random.default_rng(5).integers(0, 256, size=(3, 7, 3), dtype=np.uint8)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds hardly a byte."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def saved(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def test_a_picture_of_the_right_size_is_untouched(tmp_path):
    square = PIXELS[:, :3]
    picture = read_picture(saved(tmp_path / "a.png", square), size=3)
    np.testing.assert_array_equal(picture, square.transpose(2, 0, 1))
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous


def test_a_wide_picture_keeps_its_middle_columns_and_a_tall_one_its_middle_rows(tmp_path):
    wide = read_picture(saved(tmp_path / "wide.png", PIXELS), size=3)
    np.testing.assert_array_equal(wide, PIXELS[:, 2:5].transpose(2, 0, 1))
    tall = read_picture(saved(tmp_path / "tall.png", PIXELS.transpose(1, 0, 2)), size=3)
    np.testing.assert_array_equal(tall, PIXELS[:, 2:5].transpose(2, 1, 0))


def test_the_odd_pixel_of_a_crop_is_left_out_at_the_right(tmp_path):
    picture = read_picture(saved(tmp_path / "a.png", PIXELS[:, :4]), size=3)
    np.testing.assert_array_equal(picture, PIXELS[:, :3].transpose(2, 0, 1))


def test_a_larger_picture_is_shrunk_by_the_triangle_filter(tmp_path):
    pixels = np.random.default_rng(6).integers(0, 256, size=(4, 4, 3), dtype=np.uint8)
    # Triangles of half-width 2 around 1 and 3, at the four pixel centres 0.5 .. 3.5, each row summing to 1.
    weights = np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7
    expected = np.einsum("yi,xj,ijc->cyx", weights, weights, pixels.astype(np.float64))
    # Pillow rounds after each of the two axes.
    np.testing.assert_allclose(read_picture(saved(tmp_path / "a.png", pixels), size=2), expected, rtol=0, atol=1.01)


def test_grey_palette_and_transparent_pictures_become_rgb(tmp_path):
    grey = PIXELS[:, :3, 0]
    np.testing.assert_array_equal(read_picture(saved(tmp_path / "grey.png", grey), size=3), [grey] * 3)
    alpha = np.dstack([PIXELS[:, :3], np.full((3, 3), 9, dtype=np.uint8)])
    transparent = read_picture(saved(tmp_path / "alpha.png", alpha), size=3)
    np.testing.assert_array_equal(transparent, PIXELS[:, :3].transpose(2, 0, 1))
    palette = Image.new("P", (3, 3), color=1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "palette.png", size=3)[:, 0, 0], [10, 20, 30])


@pytest.mark.parametrize("suffix", ["bmp", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp"])
def test_every_format_torchvision_lists_is_read(tmp_path, suffix):
    picture = Image.new("L" if suffix == "pgm" else "RGB", (4, 4), color=0)
    picture.save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read_picture(tmp_path / f"a.{suffix}", size=4), np.zeros((3, 4, 4)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"just some text\n", "not a picture"),
        (b"", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n", "not a picture"),
        (b"GIF89a\x04\x00\x04\x00\x80\x00\x00" + bytes(20), "not a picture"),
    ],
    ids=["text", "empty", "eps", "gif"],
)
def test_what_is_no_picture_is_refused_whatever_its_name(tmp_path, content, reason):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.jpg: cannot be read as a picture \({reason}.*replace the file"):
        read_picture(path, size=4)


@pytest.mark.parametrize("suffix", ["bmp", "jpg", "png", "ppm", "tif", "webp"])
def test_truncated_pictures_are_refused(tmp_path, suffix):
    noise = np.random.default_rng(8).integers(0, 256, size=(40, 40, 3), dtype=np.uint8)
    path = saved(tmp_path / f"a.{suffix}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"a\.{suffix}: cannot be read as a picture"):
        read_picture(path, size=4)


def test_a_png_with_a_damaged_byte_is_refused(tmp_path):
    noise = np.random.default_rng(8).integers(0, 256, size=(40, 40, 3), dtype=np.uint8)
    path = saved(tmp_path / "a.png", noise)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: cannot be read as a picture"):
        read_picture(path, size=4)


@pytest.mark.parametrize("width", [9_000, 10_000, 20_000])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path, width):
    path = tmp_path / "a.png"
    path.write_bytes(png_of_size(width, 10_000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DataError, match=r"a\.png: cannot be read as a picture \(.*pixels"):
            read_picture(path, size=4)


def test_sixteen_bits_a_channel_are_refused_and_not_clipped(tmp_path):
    path = saved(tmp_path / "a.png", np.array([[0, 300], [40_000, 65_535]], dtype=np.uint16))
    with pytest.raises(DataError, match="more than 8 bits a channel"):
        read_picture(path, size=2)


def test_missing_files_folders_and_pipes_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png: .*No such file"):
        read_picture(tmp_path / "gone.png", size=2)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DataError, match=r"folder\.png: .*not a regular file"):
        read_picture(tmp_path / "folder.png", size=2)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png: .*not a regular file"):
        read_picture(tmp_path / "pipe.png", size=2)


def test_names_that_a_terminal_cannot_show_are_escaped():
    assert shown(Path("a/b c.png")) == "a/b c.png"
    assert shown(Path("a\n\x1b[2J.png")) == r"'a\n\x1b[2J.png'"
    assert shown(Path(os.fsdecode(b"\xff.png"))) == r"'\udcff.png'"
