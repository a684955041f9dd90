"""An orthonormal basis of a few vectors as long as theta, which is what curvature needs memory for."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from tmrepro.numerics.portable_normal import standard_normal

BLOCK = 2**16  # numbers of each vector that are in float64 at a time
STREAM = 64  # bits: streams of one seed are the seed plus multiples of 2^64, none of which draws a surface's direction


class Basis:
    """Rows of `dtype`; products and sums with them are float64, in blocks of a fixed size and order."""

    def __init__(self, rows: int, size: int, *, dtype: torch.dtype, device: torch.device) -> None:
        self._rows = torch.empty((rows, size), dtype=dtype, device=device)

    def row(self, index: int) -> Float[Tensor, " n"]:
        """One vector, as a view."""
        return self._rows[index]

    def put(self, index: int, vector: Float[Tensor, " n"], *, norm: float) -> None:
        """Make row `index` the `vector` over its `norm`."""
        for begin in range(0, len(vector), BLOCK):
            self._rows[index, begin : begin + BLOCK] = vector[begin : begin + BLOCK] / norm

    def move(self, index: int, *, to: int) -> None:
        """Make row `to` what row `index` is."""
        self._rows[to].copy_(self._rows[index])

    def orthogonalise(self, vector: Float64[Tensor, " n"], *, rows: int) -> Float64[Tensor, " m"]:
        """Take from `vector`, in place, all that lies along the first `rows`, twice; returns how much that was.

        Once would leave what rounding left (Parlett, "The Symmetric Eigenvalue Problem": twice is enough).
        """
        along = torch.zeros(rows, dtype=torch.float64, device=vector.device)
        for _ in range(2):
            found = torch.zeros_like(along)
            for block, part in self._blocks(vector, rows):
                found += block @ part
            for block, part in self._blocks(vector, rows):
                part -= found @ block
            along += found
        return along

    def rotate(self, turned: Float64[np.ndarray, "m k"]) -> None:
        """Make the first k rows the combinations of the first m that the columns of `turned` say."""
        m, k = turned.shape
        weights = torch.from_numpy(turned.T.copy()).to(self._rows.device)
        for begin in range(0, self._rows.shape[1], BLOCK):
            part = self._rows[:m, begin : begin + BLOCK]
            self._rows[:k, begin : begin + BLOCK] = weights @ part.double()

    def _blocks(self, vector: Tensor, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The first `rows` in float64 and `vector` as it is, block by block."""
        for begin in range(0, len(vector), BLOCK):
            yield self._rows[:rows, begin : begin + BLOCK].double(), vector[begin : begin + BLOCK]


def normals(seed: int, *, stream: int, size: int, device: torch.device) -> Float[Tensor, " n"]:
    """`size` standard normal float32 numbers, the same on every machine; each `stream` of a seed (from 1 on) is another."""
    return torch.from_numpy(standard_normal(seed + (stream << STREAM), size=size)).to(device)


def product_of(one: Float[Tensor, " n"], other: Float[Tensor, " n"]) -> float:
    """The scalar product in float64, block by block."""
    parts = zip(torch.split(one, BLOCK), torch.split(other, BLOCK), strict=True)
    return math.fsum(float((mine.double() * theirs).sum()) for mine, theirs in parts)


def length(vector: Float[Tensor, " n"]) -> float:
    """The L2 norm."""
    return math.sqrt(product_of(vector, vector))
