"""One picture file as pixels, read as somebody else's file: nothing in it is trusted, and what is wrong has a name.

Only the decoders of torchvision's image formats run (Pillow would start Ghostscript for an EPS named .jpg), sizes are
looked at before pixels are decoded, and what 8-bit RGB can't hold is refused rather than clipped.
"""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from tmrepro.errors import DataError
from tmrepro.limits import PICTURE_PIXELS

# The decoders behind torchvision's IMG_EXTENSIONS. PPM reads .pgm too.
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# More than that many pixels take in any of the formats; some decoders read a whole file before they look at it.
BYTES_MAX = 3 * 2**27


def read_picture(path: Path, *, size: int) -> UInt8[np.ndarray, "3 size size"]:
    """The first frame of a picture as RGB of size x size, rows from the top.

    A picture of another size is cropped in its centre to the square of its shorter side (the odd pixel goes to the
    right and the bottom), then resized by Pillow's bilinear filter, whose whole-number arithmetic is the same on every
    machine. Transparency is dropped and a picture is not turned by its EXIF orientation, as in torchvision. Pillow's
    warnings are the caller's to silence, once for many pictures.

    Raises:
        DataError: not a file, not a picture, damaged, truncated, too large, or of more than 8 bits a channel.
    """
    try:
        # A pipe named .jpg would block for ever on being opened.
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    if not stat.S_ISREG(found.st_mode):
        raise _unreadable(path, "not a regular file")
    if found.st_size > BYTES_MAX:
        raise _unreadable(path, f"{found.st_size} bytes; expected at most {BYTES_MAX}")
    return np.ascontiguousarray(np.asarray(_square(_decoded(path), size=size)).transpose(2, 0, 1))


def shown(path: Path) -> str:
    """A path as one printable line: a folder from elsewhere may have names that a terminal can't show."""
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
        raise _unreadable(path, f"not a picture, whatever its name; expected one of {', '.join(FORMATS)}") from error
    except Exception as error:  # Pillow's decoders fail in a dozen ways on damaged bytes, SyntaxError among them.
        raise _unreadable(path, str(error) or type(error).__name__) from error


def _require_fitting(picture: Image.Image, *, path: Path) -> None:
    if picture.width * picture.height > PICTURE_PIXELS:
        raise _unreadable(path, f"{picture.width} x {picture.height} pixels; expected at most {PICTURE_PIXELS} in all")
    # Pillow would clip these at 255 instead of scaling them.
    if picture.mode.startswith(("I", "F")):
        raise _unreadable(path, f"more than 8 bits a channel: Pillow's mode {picture.mode}")


def _square(picture: Image.Image, *, size: int) -> Image.Image:
    if picture.size == (size, size):
        return picture
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)


def _unreadable(path: Path, reason: str) -> DataError:
    return DataError(f"{shown(path)}: cannot be read as a picture ({reason}); replace the file or take it away")
