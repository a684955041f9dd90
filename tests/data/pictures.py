"""A `data` section of a spec, and a folder of small lossless pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Section:
    """The section `data` of a spec, as far as loading goes by it."""

    name: Literal["cifar10", "images", "digits"]
    train: int | None = None
    validation: int | None = None
    size: int = 32
    seed: int = 0


def write_pictures(
    root: Path,
    *,
    train: dict[str, int],
    test: dict[str, int],
    width: int = 4,
    height: int = 4,
) -> dict[str, np.ndarray]:
    """Write root/PART/CLASS/N.png of random pixels, so many for each class. Return {path below root: [h, w, 3]}."""
    random = np.random.default_rng(7)
    written = {}
    for part, classes in (("train", train), ("test", test)):
        for name, count in classes.items():
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, size=(height, width, 3), dtype=np.uint8)
                path = f"{part}/{name}/{number:02d}.png"
                Image.fromarray(pixels).save(root / path)
                written[path] = pixels
    return written
