"""What the tests of the data room share: a `data` section of a spec, and a folder of small lossless pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image


@dataclass(frozen=True)
class Section:
    name: Literal["cifar10", "images", "digits"]
    train: int | None = None
    validation: int | None = None
    size: int = 32
    seed: int = 0


@pytest.fixture
def section() -> Callable[..., Section]:
    return Section


@pytest.fixture
def pictures() -> Callable[..., dict[str, np.ndarray]]:
    """Writes root/PART/CLASS/N.png of random pixels, so many for each class; returns {path below root: [h, w, 3]}."""

    def write(
        root: Path,
        *,
        train: dict[str, int],
        test: dict[str, int],
        width: int = 4,
        height: int = 4,
    ) -> dict[str, np.ndarray]:
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

    return write
