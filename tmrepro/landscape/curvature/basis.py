"""An orthonormal basis of a few vectors as long as theta. Curvature needs most of its memory for them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from tmrepro.numerics.portable_normal import standard_normal

BLOCK = 2**16  # numbers of each vector in float64 at a time
STREAM = 64  # bits: streams of one seed are the seed plus multiples of 2^64, so none is a surface's direction


class Basis:
    """Rows of `dtype`. Products and sums with them are float64, in blocks of a fixed size and order."""

    def __init__(self, rows: int, size: int, *, dtype: torch.dtype, device: torch.device) -> None:
        self._rows = torch.empty((rows, size), dtype=dtype, device=device)

    def row(self, index: int) -> Float[Tensor, " n"]:
        """Return one vector, as a view."""
        return self._rows[index]

    def put(self, index: int, vector: Float[Tensor, " n"], *, norm: float) -> None:
        """Set row `index` to `vector` / `norm`."""
        for begin in range(0, len(vector), BLOCK):
            self._rows[index, begin : begin + BLOCK] = vector[begin : begin + BLOCK] / norm

    def move(self, index: int, *, to: int) -> None:
        """Copy row `index` to row `to`."""
        self._rows[to].copy_(self._rows[index])

    def orthogonalise(self, vector: Float64[Tensor, " n"], *, rows: int) -> Float64[Tensor, " m"]:
        """Remove the components of `vector` along the first `rows`, twice and in place. Return the sum of what was removed.

        After one pass, rounding errors remain (Parlett, "The Symmetric Eigenvalue Problem": twice is enough).
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
        """Replace the first k rows by linear combinations of the first m, with the columns of `turned` as coefficients."""
        m, k = turned.shape
        weights = torch.from_numpy(turned.T.copy()).to(self._rows.device)
        for begin in range(0, self._rows.shape[1], BLOCK):
            part = self._rows[:m, begin : begin + BLOCK]
            self._rows[:k, begin : begin + BLOCK] = weights @ part.double()

    def _blocks(self, vector: Tensor, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the first `rows` in float64 and `vector`, block by block."""
        for begin in range(0, len(vector), BLOCK):
            yield self._rows[:rows, begin : begin + BLOCK].double(), vector[begin : begin + BLOCK]


def normals(seed: int, *, stream: int, size: int, device: torch.device) -> Float[Tensor, " n"]:
    """Return `size` standard normal float32 numbers, the same on every machine. Each `stream` (from 1) of a seed differs."""
    return torch.from_numpy(standard_normal(seed + (stream << STREAM), size=size)).to(device)


def product_of(one: Float[Tensor, " n"], other: Float[Tensor, " n"]) -> float:
    """Return the scalar product in float64, block by block."""
    parts = zip(torch.split(one, BLOCK), torch.split(other, BLOCK), strict=True)
    return math.fsum(float((mine.double() * theirs).sum()) for mine, theirs in parts)


def length(vector: Float[Tensor, " n"]) -> float:
    """Return the L2 norm."""
    return math.sqrt(product_of(vector, vector))
