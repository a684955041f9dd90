"""Pictures come through pixel by pixel; whatever isn't one is named and refused."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from torchvision.datasets.folder import IMG_EXTENSIONS

from tmrepro.data.picture import SUFFIXES, read_picture, shown
from tmrepro.errors import DataError

PIXELS = np.random.default_rng(5).integers(0, 256, size=(3, 7, 3), dtype=np.uint8)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds hardly a byte."""
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


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_kind_of_name_is_of_a_format_that_is_read(tmp_path, suffix):
    suffix = suffix.removeprefix(".")
    picture = Image.new({"pgm": "L", "pbm": "1"}.get(suffix, "RGB"), (4, 4), color=0)
    picture.save(tmp_path / f"a.{suffix}", format="BMP" if suffix == "dib" else None)
    np.testing.assert_array_equal(read_picture(tmp_path / f"a.{suffix}", size=4), np.zeros((3, 4, 4)))


def test_every_kind_of_name_that_torchvision_takes_is_taken():
    assert set(IMG_EXTENSIONS) <= SUFFIXES


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
    with pytest.raises(DataError, match=rf"a\.jpg: cannot be read as a picture \({reason}.*replace or remove the file"):
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


def deep_png(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel, from [h, w, channels]."""
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(pixels: np.ndarray, *, planes: bool = False) -> bytes:
    """An uncompressed TIFF of [h, w, channels], of the array's own kind of numbers."""
    height, width, channels = pixels.shape
    data = (pixels.transpose(2, 0, 1) if planes else pixels).tobytes()
    bits, sort = 8 * pixels.itemsize, {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    # Values of more than 4 bytes stand behind the directory: two for each channel, twice.
    behind = 8 + 2 + 12 * 10 + 4
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, behind), (259, 3, 1, 1),
        (262, 3, 1, 2 if channels >= 3 else 1), (273, 4, 1, behind + 4 * channels), (277, 3, 1, channels),
        (279, 4, 1, len(data)), (284, 3, 1, 2 if planes else 1), (339, 3, channels, behind + 2 * channels),
    ]  # fmt: skip
    if channels == 1:
        entries = [(tag, kind, n, {258: bits, 339: sort}.get(tag, value)) for tag, kind, n, value in entries]
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    numbers = struct.pack(f"<{2 * channels}H", *[bits] * channels, *[sort] * channels)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + struct.pack("<I", 0) + numbers + data


DEEP = np.array([[[255, 256, 65_535], [0, 128, 300]], [[1, 2, 3], [4, 5, 6]]], dtype=np.uint16)
DEEP_FILES = {
    "grey.png": deep_png(DEEP[..., :1]),
    "grey-alpha.png": deep_png(DEEP[..., :2]),
    "rgb.png": deep_png(DEEP),
    "rgba.png": deep_png(np.dstack([DEEP, DEEP[..., :1]])),
    "grey.pgm": b"P5 2 2 65535\n" + DEEP[..., 0].astype(">u2").tobytes(),
    "grey10.pgm": b"P5 2 2 1023\n" + DEEP[..., 0].astype(">u2").tobytes(),
    "rgb.ppm": b"P6 2 2 65535\n" + DEEP.astype(">u2").tobytes(),
    "rgb10.ppm": b"P6 2 2 1023\n" + (DEEP // 64).astype(">u2").tobytes(),
    "rgb-text.ppm": b"P3 2 2 4095\n" + b" ".join(b"%d" % value for value in DEEP.ravel() // 16),
    "rgb.tif": tiff(DEEP),
    "rgb-planes.tif": tiff(DEEP, planes=True),
    "rgba.tif": tiff(np.dstack([DEEP, DEEP[..., :1]])),
    "grey.tif": tiff(DEEP[..., :1]),
    "signed.tif": tiff(DEEP[..., :1].astype(np.int16)),
    "grey32.tif": tiff(DEEP[..., :1].astype(np.int32)),
    "float.tif": tiff(DEEP[..., :1].astype(np.float32)),
}


@pytest.mark.parametrize("name", DEEP_FILES)
def test_more_than_eight_bits_a_channel_are_refused_and_neither_clipped_nor_turned_black(tmp_path, name):
    (tmp_path / name).write_bytes(DEEP_FILES[name])
    with pytest.raises(DataError, match=rf"{name}: .*more than 8 bits per channel.*convert it to 8"):
        read_picture(tmp_path / name, size=2)


def test_eight_bits_and_fewer_are_scaled_to_eight(tmp_path):
    """A PGM's white is what its header says."""
    pixels = np.random.default_rng(9).integers(0, 256, size=(2, 2, 3), dtype=np.uint8)
    (tmp_path / "a.tif").write_bytes(tiff(pixels))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif", size=2), pixels.transpose(2, 0, 1))
    (tmp_path / "a.pgm").write_bytes(b"P5 2 2 15\n" + bytes([0, 1, 7, 15]))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.pgm", size=2)[0], [[0, 17], [119, 255]])


def test_one_bit_cmyk_and_transparent_palettes_become_the_colours_stored(tmp_path):
    """Without a colour profile; what is transparent has the colour that was stored under it."""
    Image.fromarray(np.array([[True, False], [False, True]])).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "bits.png", size=2)[1], [[255, 0], [0, 255]])
    cmyk = np.array([[[0, 0, 0, 0], [255, 0, 0, 0]], [[0, 255, 0, 0], [0, 0, 0, 255]]], dtype=np.uint8)
    Image.fromarray(cmyk, mode="CMYK").save(tmp_path / "ink.tif")
    found = read_picture(tmp_path / "ink.tif", size=2).transpose(1, 2, 0)
    np.testing.assert_array_equal(found, [[[255, 255, 255], [0, 255, 255]], [[255, 0, 255], [0, 0, 0]]])
    palette = Image.new("P", (2, 2), color=1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    for name in ("clear.png", "clear.gif"):
        palette.save(tmp_path / name, transparency=1)
        np.testing.assert_array_equal(read_picture(tmp_path / name, size=2)[:, 0, 0], [10, 20, 30])


def test_the_orientation_in_exif_turns_nothing(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    square = PIXELS[:, :3]
    picture = read_picture(saved(tmp_path / "a.png", square, exif=turned), size=3)
    np.testing.assert_array_equal(picture, square.transpose(2, 0, 1))


@pytest.mark.parametrize("suffix", ["gif", "png", "tif", "webp", "avif"])
def test_several_frames_or_pages_are_refused_and_a_single_one_is_read(tmp_path, suffix):
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    frames = [Image.new("RGB", (4, 4), color=(0, 0, level)) for level in (0, 90, 200)]
    frames[0].save(tmp_path / f"one.{suffix}")
    np.testing.assert_array_equal(read_picture(tmp_path / f"one.{suffix}", size=4), np.zeros((3, 4, 4)))
    frames[0].save(tmp_path / f"all.{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=rf"all\.{suffix}: .*several frames or pages"):
        read_picture(tmp_path / f"all.{suffix}", size=4)


def test_a_jpeg_with_a_preview_in_it_is_one_picture(tmp_path):
    first, second = (Image.new("RGB", (4, 4), color=(level,) * 3) for level in (0, 200))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg", size=4), np.zeros((3, 4, 4)))


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
