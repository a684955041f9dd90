"""The outputs of the second layer that depend on a unit of the first one, and the weights between them."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Tensor, nn

from tmrepro.surface.cpu.tail import SIDE
from tmrepro.surface.graph import Cut
from tmrepro.surface.trace import Uncut

TILE_BYTES = 48 * 2**20  # of one tile's own arrays, so that they stay in the processor's cache
LARGEST_TILE = 512


@dataclass(frozen=True)
class Geometry:
    """How the second layer's outputs depend on its inputs.

    The `units` of the first layer are on `places` (one, for vectors). Place p reaches, for k in start[p] .. start[p + 1],
    the output place reached[k] through the tap taps[k] of a kernel of `kernel` taps. `size` is that of the output maps (height,
    width); None for vectors.
    """

    second: nn.Linear | nn.Conv2d
    units: int
    size: tuple[int, int] | None
    start: Int32[np.ndarray, " P1"]
    reached: Int32[np.ndarray, " k"]
    taps: Int32[np.ndarray, " k"]
    kernel: int

    @property
    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """The tables in the order of the kernels' arguments."""
        return self.start, self.reached, self.taps, self.kernel

    @property
    def width(self) -> int:
        """Outputs per place of the second layer."""
        return int(self.second.weight.shape[0])

    @property
    def outputs(self) -> int:
        """Outputs of the second layer per image."""
        return self.width * (1 if self.size is None else self.size[0] * self.size[1])

    @property
    def tile(self) -> int:
        """Images per tile: as many as fit into TILE_BYTES."""
        image_bytes = 26 * self.units + (6 * 8 + 9 * 4 + 4 * SIDE) * self.outputs
        return min(max(TILE_BYTES // image_bytes, 1), LARGEST_TILE)


def geometry_of(cut: Cut, image: Float[Tensor, "1 ..."]) -> Geometry:
    """Return the geometry of a cut for images of the size of `image`.

    Raises:
        Uncut: the input of a layer is neither a vector nor maps of each image.
    """
    with torch.no_grad():
        x = cut.before(image)
        between = cut.first(x)
        logits = cut.tail(_behind_second(cut, between))
    if logits.ndim != 2 or len(logits) != 1:
        raise Uncut("its outputs are not one vector per image")
    if x.ndim != (2 if isinstance(cut.first, nn.Linear) else 4) or len(x) != 1:
        raise Uncut("the first layer takes several vectors of an image")
    second = cut.second
    assert second is not None  # noqa: S101 - this kind of cut has one
    if isinstance(second, nn.Linear):
        units = between[0].numel()
        start, zeros = np.array([0, 1], dtype=np.int32), np.zeros(1, dtype=np.int32)
        return Geometry(second, units, None, start, zeros, zeros, 1)
    height, width = between.shape[2:]
    with torch.no_grad():
        size = (int(second(between).shape[2]), int(second(between).shape[3]))
    start_, reached, taps = [0], [], []
    for y, x_ in itertools.product(range(height), range(width)):
        for tap, (ky, kx) in enumerate(itertools.product(*(range(length) for length in second.kernel_size))):
            row = _reached_along(0, second, at=y, tap=ky, length=size[0])
            column = _reached_along(1, second, at=x_, tap=kx, length=size[1])
            if row is not None and column is not None:
                reached.append(row * size[1] + column)
                taps.append(tap)
        start_.append(len(reached))
    start, reached_, taps_ = (np.array(table, dtype=np.int32) for table in (start_, reached, taps))
    return Geometry(second, between[0].numel(), size, start, reached_, taps_, math.prod(second.kernel_size))


def _behind_second(cut: Cut, between: Tensor) -> Tensor:
    """Return the input of the tail, computed by the layers themselves."""
    assert cut.second is not None  # noqa: S101 - this kind of cut has one
    x = cut.second(between.relu().flatten(1) if cut.flattened else between.relu())
    return x.relu() if cut.relu else x  # type: ignore[no-any-return]


def _reached_along(axis: int, layer: nn.Conv2d, *, at: int, tap: int, length: int) -> int | None:
    """Return the output place (of `length`) that input place `at` reaches through `tap` along an axis; None if there is none."""
    padding = layer.padding[axis]
    assert isinstance(padding, int)  # noqa: S101 - convolutions with "same" or "valid" are not cut
    shifted, stride = at + padding - tap * layer.dilation[axis], layer.stride[axis]
    return shifted // stride if shifted % stride == 0 and 0 <= shifted // stride < length else None
