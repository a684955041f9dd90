"""Reads one untrusted picture file as pixels. Every error names the file and the fault.

Only a few of Pillow's decoders run (it would start Ghostscript for an EPS named .jpg). Sizes are checked before pixels are
decoded. What one picture of 8-bit RGB cannot hold (more bits, more frames) is refused, not clipped.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFile, PpmImagePlugin, TiffImagePlugin, UnidentifiedImageError, features

from tmrepro.data.files import size_of_regular_file
from tmrepro.errors import DataError
from tmrepro.spec.limits import PICTURE_PIXELS

# The decoders behind torchvision's IMG_EXTENSIONS, and two more with 8 bits per channel. PPM reads .pbm and .pgm too.
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP", "GIF", *(("AVIF",) if features.check("avif") else ()))
# The endings of their files' names.
SUFFIXES = frozenset({
    ".apng", ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff",
    ".webp", *((".avif",) if "AVIF" in FORMATS else ()),
})  # fmt: skip
# The first bytes of common pictures, whatever their names. (A text may begin with "BM" or "P5".)
_SIGNATURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|II\*\0|MM\0\*|RIFF....WEBP|BM....\0\0\0\0|P[1-6]\n"
    rb"|....ftyp(avi[fs]|heic|heix|hevc|mif1|msf1)|\0\0\0\x0cjP  |\xff\x4f\xff\x51|\0\0\0\x0cJXL |\xff\x0a|8BPS",
    re.DOTALL,
)
# More than PICTURE_PIXELS need in any of the formats. Some decoders read a whole file before they check it.
BYTES_MAX = 3 * 2**27


def read_picture(path: Path, *, size: int) -> UInt8[np.ndarray, "3 size size"]:
    """Return a picture as RGB of size x size, rows from the top.

    A picture of another size is cropped to the central square of its shorter side (an odd pixel is cut off on the right or
    at the bottom), then resized by Pillow's bilinear filter, whose integer arithmetic is the same on every machine. As in
    torchvision, a palette is looked up, grey is repeated, CMYK is converted without a colour profile, transparency is
    dropped (the colour stored under it shows), and EXIF orientation is ignored. The caller silences Pillow's warnings, once
    for many pictures.

    Raises:
        DataError: not a file, not a picture, damaged, truncated, too large, of more than 8 bits per channel, or of several
            frames or pages.
    """
    size_in_bytes = size_of_regular_file(path, unreadable=_unreadable)
    if size_in_bytes > BYTES_MAX:
        raise _unreadable(path, f"{size_in_bytes} bytes; expected at most {BYTES_MAX}")
    return np.ascontiguousarray(np.asarray(_square(_decoded(path), size=size)).transpose(2, 0, 1))


def looks_like_picture(path: Path) -> bool:
    """Return whether a file begins as pictures do, whatever its name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _SIGNATURES.match(file.read(16)) is not None


def shown(path: Path) -> str:
    """Return a path as one printable line. Names in an untrusted folder may not be printable."""
    return str(path) if str(path).isprintable() else repr(str(path))


def _decoded(path: Path) -> Image.Image:
    try:
        # Opening reads the header only.
        with Image.open(path, formats=FORMATS) as picture:
            _require_fitting(picture, path=path)
            return picture.convert("RGB")
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise _unreadable(path, f"not a picture, despite its name; expected one of {', '.join(FORMATS)}") from error
    except Exception as error:  # On damaged bytes, Pillow's decoders raise many errors, even SyntaxError.
        raise _unreadable(path, str(error) or type(error).__name__) from error


def _require_fitting(picture: ImageFile.ImageFile, *, path: Path) -> None:
    if picture.width * picture.height > PICTURE_PIXELS:
        raise _unreadable(path, f"{picture.width} x {picture.height} pixels; expected at most {PICTURE_PIXELS} in all")
    if _is_deep(picture):
        # Pillow would clip them at 255, or keep only the upper byte, so that small values would become black.
        raise _unreadable(path, f"more than 8 bits per channel (Pillow's mode {picture.mode}); convert it to 8 bits")
    # A second picture in a JPEG is a preview of the first, or its depth map.
    if picture.format != "MPO" and getattr(picture, "is_animated", False):
        raise _unreadable(path, "several frames or pages; expected one picture per file")


def _is_deep(picture: ImageFile.ImageFile) -> bool:
    """Return whether the file has more than 8 bits per channel. Pillow's mode alone does not say."""
    if picture.mode.startswith(("I", "F")):
        return True
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        bits = picture.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
        return any(number > 8 for number in (bits if isinstance(bits, tuple) else (bits,)))
    arguments = [tile.args if isinstance(tile.args, tuple) else (tile.args,) for tile in picture.tile]
    if isinstance(picture, PpmImagePlugin.PpmImageFile):  # the largest value, if it is not 255
        return any(isinstance(value, int) and value > 255 for values in arguments for value in values)
    return picture.format == "PNG" and any(str(values[0]).endswith(";16B") for values in arguments)


def _square(picture: Image.Image, *, size: int) -> Image.Image:
    if picture.size == (size, size):
        return picture
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)


def _unreadable(path: Path, reason: str) -> DataError:
    return DataError(f"{shown(path)}: cannot be read as a picture ({reason}); replace or remove the file")
