"""From pixels to the inputs of a network: the exact constants, and the scaling, the same on every device."""

from __future__ import annotations

import math
from typing import Literal, assert_never

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

Scaling = Literal["standardize", "unit"]

PIXEL_MAX = 255
# Pictures counted at once: np.bincount widens each pixel to eight bytes.
_BLOCK_IMAGES = 2048


def scale(
    images: UInt8[Tensor, "n 3 h w"],
    *,
    scaling: Scaling,
    mean: tuple[float, float, float],
    deviation: tuple[float, float, float],
) -> Float32[Tensor, "n 3 h w"]:
    """Return pictures as float32, on the device where they are.

    `standardize`: (pixel - mean) / deviation per channel, `mean` and `deviation` rounded to float32 first. `unit`:
    pixel / 255. Each subtraction and division is correctly rounded (IEEE 754), so all devices agree.
    """
    scaled = images.to(torch.float32, copy=True)
    match scaling:
        case "standardize":
            return scaled.sub_(_per_channel(mean, like=scaled)).div_(_per_channel(deviation, like=scaled))
        case "unit":
            white = float(PIXEL_MAX)
            return scaled.div_(_per_channel((white, white, white), like=scaled))
        case _:
            assert_never(scaling)


def channel_statistics(
    images: UInt8[np.ndarray, "n 3 h w"],
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return the mean and (population) deviation of each channel, in pixel units 0..255. A deviation of 0 becomes 1.

    The sums are integers. Only their quotient and its root are rounded, so the result is bitwise identical everywhere.
    """
    channels = [_mean_and_deviation(_histogram(images[:, channel])) for channel in range(3)]
    (mean_r, deviation_r), (mean_g, deviation_g), (mean_b, deviation_b) = channels
    return (mean_r, mean_g, mean_b), (deviation_r, deviation_g, deviation_b)


def _histogram(channel: UInt8[np.ndarray, "n h w"]) -> list[int]:
    counts = np.zeros(PIXEL_MAX + 1, dtype=np.int64)
    for start in range(0, len(channel), _BLOCK_IMAGES):
        counts += np.bincount(channel[start : start + _BLOCK_IMAGES].reshape(-1), minlength=PIXEL_MAX + 1)
    return [int(count) for count in counts]


def _mean_and_deviation(histogram: list[int]) -> tuple[float, float]:
    n = sum(histogram)
    total = sum(value * count for value, count in enumerate(histogram))
    squares = sum(value * value * count for value, count in enumerate(histogram))
    # Python divides integers of any length with one rounding.
    variance = (n * squares - total * total) / (n * n)
    return total / n, math.sqrt(variance) or 1.0


def _per_channel(values: tuple[float, float, float], *, like: Tensor) -> Float32[Tensor, "1 3 1 1"]:
    # A tensor on the device, because CUDA replaces a division by a host number with a product with its inverse.
    return torch.tensor(values, dtype=torch.float32, device=like.device).reshape(1, 3, 1, 1)
