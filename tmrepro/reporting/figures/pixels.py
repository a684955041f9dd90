"""Comparison of two pictures pixel by pixel, for verification: how much differs, and a picture of where."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from tmrepro.errors import DamagedError
from tmrepro.spec.limits import FIGURE_BYTES, PICTURE_PIXELS

_SAME = 255
_FADED = 0.18  # equal pixels stay visible faintly, to show where the differences are


@dataclass(frozen=True)
class PixelDifference:
    """The differences of two pictures. Channel values are 0 to 255. Pictures of two sizes differ everywhere.

    `share_different` is the share of pixels of which any channel differs, `max_difference` and `mean_difference` are
    over all channels of all pixels.
    """

    same_size: bool
    identical: bool
    share_different: float
    max_difference: int
    mean_difference: float


def compare_png(reference: bytes, result: bytes) -> PixelDifference:
    """Compare two PNG files by their pixels.

    Raises:
        DamagedError: a picture is not a PNG, is cut off, or is larger than any figure of tmrepro.
    """
    first, second = decode_png(reference, "reference"), decode_png(result, "result")
    if first.shape != second.shape:
        return PixelDifference(
            same_size=False, identical=False, share_different=1.0, max_difference=255, mean_difference=255.0
        )
    difference = _absolute_difference(first, second)
    return PixelDifference(
        same_size=True,
        identical=not difference.any(),
        share_different=float(difference.any(axis=2).mean()),
        max_difference=int(difference.max()),
        mean_difference=float(difference.mean()),
    )


def difference_png(reference: bytes, result: bytes) -> bytes:
    """Return a PNG that shows the result faintly, and every pixel that differs in red; a larger difference is darker.

    Pictures of two sizes are aligned at the top left. Pixels that only one of them has count as different.
    """
    first, second = decode_png(reference, "reference"), decode_png(result, "result")
    height, width = (max(first.shape[axis], second.shape[axis]) for axis in (0, 1))
    difference = np.full((height, width), 255, dtype=np.uint8)
    ghost = np.full((height, width), 255, dtype=np.uint8)
    both = (slice(min(first.shape[0], second.shape[0])), slice(min(first.shape[1], second.shape[1])))
    difference[both] = _absolute_difference(first[both], second[both]).max(axis=2)
    grey = second[..., :3].mean(axis=2)
    ghost[: second.shape[0], : second.shape[1]] = np.rint(_SAME - _FADED * (255 - grey)).astype(np.uint8)
    differs = difference > 0
    picture = np.repeat(ghost[:, :, None], 3, axis=2)
    # A difference of one grey level must be visible too: it is a clear red, which darkens with the difference.
    picture[differs, 0] = 255 - difference[differs] // 2
    picture[differs, 1] = picture[differs, 2] = 96 - (difference[differs] // 4)
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def _absolute_difference(
    first: UInt8[np.ndarray, "h w 4"], second: UInt8[np.ndarray, "h w 4"]
) -> UInt8[np.ndarray, "h w 4"]:
    difference: UInt8[np.ndarray, "h w 4"] = np.maximum(first, second) - np.minimum(first, second)
    return difference


def decode_png(png: bytes, which: str) -> UInt8[np.ndarray, "h w 4"]:
    """Return the pixels of a PNG file: red, green, blue and opacity. `which` names the figure in the error.

    Raises:
        DamagedError: as `compare_png`.
    """
    if len(png) > FIGURE_BYTES:
        raise DamagedError(f"the {which} figure has {len(png)} bytes; a figure has at most {FIGURE_BYTES}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is checked instead
            image = Image.open(BytesIO(png), formats=["PNG"])
            # A PNG of a few kilobytes can unpack to gigabytes. Check before anything is allocated.
            if image.width * image.height > PICTURE_PIXELS:
                raise DamagedError(
                    f"the {which} figure has {image.width} x {image.height} pixels; expected at most {PICTURE_PIXELS}"
                )
            return np.asarray(image.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DamagedError(f"the {which} figure cannot be read as a PNG: {error}") from error
