"""Small copies of figures for a page: fewer levels of colour, and fewer pixels if many must fit. Files are not changed.

At full size, no channel of a pixel differs by more than 4 of 255, which is invisible. Comparisons never use these copies:
differences are computed from the figures themselves.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, features

from tmrepro.reporting.figures.pixels import decode_png

KEPT_BYTES = 16_384  # a PNG up to this size is embedded as it is
# Share of the width, and levels of a channel. The first that fits is used. Text in figures is legible down to half size.
_STEPS = ((1.0, 32), (0.65, 16), (0.5, 16), (0.35, 16), (0.25, 16))

_LONGEST_SIDE = 16_383  # pixels, a limit of WebP


@dataclass(frozen=True)
class Embedded:
    """A picture in a page: its bytes as a `data:` address, and its width and height in pixels."""

    uri: str
    width: int
    height: int


def embed(pictures: Iterable[bytes], *, most: int) -> dict[bytes, Embedded]:
    """Return the embedded form of each of the PNG files `pictures`, equal ones once, in at most `most` characters together.

    If even the smallest copies need more, these are returned.

    Raises:
        DamagedError: a picture is not a PNG, is cut off, or is larger than any figure of tmrepro.
    """
    decoded = {png: Image.fromarray(decode_png(png, "embedded")).convert("RGB") for png in dict.fromkeys(pictures)}
    for share, levels in _STEPS[:-1]:
        found: dict[bytes, Embedded] = {}
        left = most
        for png, copy in _copies(decoded, share, levels):
            found[png] = copy
            left -= len(copy.uri)
            if left < 0:
                break
        else:
            return found
    return dict(_copies(decoded, *_STEPS[-1]))


def _copies(decoded: Mapping[bytes, Image.Image], share: float, levels: int) -> Iterator[tuple[bytes, Embedded]]:
    for png, picture in decoded.items():
        yield png, _as_it_is(png, picture) if len(png) <= KEPT_BYTES else _reduced(picture, share, levels)


def _as_it_is(png: bytes, picture: Image.Image) -> Embedded:
    return Embedded(_uri(png, "png"), picture.width, picture.height)


def _reduced(picture: Image.Image, share: float, levels: int) -> Embedded:
    share = min(share, _LONGEST_SIDE / max(picture.size))
    if share < 1:
        size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    top = levels - 1
    picture = picture.point([round(round(value * top / 255) * 255 / top) for value in range(256)] * 3)
    buffer = BytesIO()
    if features.check("webp"):
        picture.save(buffer, format="WEBP", lossless=True, quality=50, method=4)
        return Embedded(_uri(buffer.getvalue(), "webp"), picture.width, picture.height)
    picture.save(buffer, format="PNG", optimize=True)
    return Embedded(_uri(buffer.getvalue(), "png"), picture.width, picture.height)


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64," + b64encode(data).decode("ascii")
