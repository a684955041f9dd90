"""Lanczos's method: the largest eigenpairs of the Hessian, and its spectrum as weighted by a random vector.

The search for the largest eigenvalues uses a basis of bounded size, which restarts from its best vectors when it is full
(thick restart, Wu and Simon 2000), with full reorthogonalisation. A Krylov space contains only one vector of a multiple
eigenvalue. So the search adds a fresh random vector after convergence, and must converge to the same values again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from tmrepro.directions.gaussian import sign_of
from tmrepro.landscape.curvature.basis import Basis, length, normals, product_of
from tmrepro.landscape.curvature.hessian import Hessian
from tmrepro.numerics.eigen import symmetric_eigen

BREAKDOWN = 1e-6  # share of the largest eigenvalue: a smaller rest of a float32 product is rounding
LOOK = 6  # products between two tests for convergence
MARGIN = 0.5  # share of the tolerance that is used before the final rounding of vectors

Told = Callable[[str], None]


@dataclass(frozen=True)
class Pairs:
    """Eigenvalues [top], largest first, the norms of their residuals [top], and unit vectors [top, n].

    `scale` is the largest absolute eigenvalue found. `settled`: the search converged.
    """

    values: Float64[np.ndarray, " top"]
    residuals: Float64[np.ndarray, " top"]
    vectors: Float[Tensor, "top n"]
    scale: float
    settled: bool


@dataclass(frozen=True)
class Sight:
    """The spectrum as weighted by a unit vector v: v^T H v, ||H v||, and `weights` that sum to 1 at `nodes`."""

    quotient: float
    reach: float
    nodes: Float64[np.ndarray, " m"]
    weights: Float64[np.ndarray, " m"]


def largest_pairs(
    hessian: Hessian, *, top: int, basis: int, seed: int, tolerance: float, most_products: int, tell: Told
) -> Pairs:
    """Return the `top` algebraically largest eigenpairs, from a basis of at most `basis` vectors.

    The search ends when each residual is within `tolerance` times the largest absolute eigenvalue found, twice, or after
    `most_products` products. The residuals are computed at the end, with additional products.

    Raises:
        UsageError, ComputeError: see `Hessian`.
    """
    n, m = hessian.size, min(basis, hessian.size)
    rows = Basis(m + 1, n, dtype=hessian.dtype, device=hessian.device)
    fresh = _Fresh(hessian, seed)
    fresh.put(rows, 0)
    projected = np.zeros((m, m))
    kept, size, scale, agreed = 0, 0, 0.0, None
    while True:
        product = hessian @ rows.row(size)
        scale = max(scale, length(product))
        along = rows.orthogonalise(product, rows=size + 1).cpu().numpy()
        projected[size, : size + 1] = projected[: size + 1, size] = along
        rest, size = length(product), size + 1
        if size < n and rest <= BREAKDOWN * scale:
            rest = 0.0
            fresh.put(rows, size)
        elif size < n:
            rows.put(size, product, norm=rest)
        ended = size == m or hessian.products >= most_products
        if size < top or not (ended or (size >= kept + LOOK and size % LOOK == 0)):
            continue
        values, turned = symmetric_eigen(projected[:size, :size])
        extent = float(np.max(np.abs(values)))
        worst = float(np.max(np.abs(rest * turned[size - 1, :top])))
        found = size == n or worst <= MARGIN * tolerance * extent
        if not (ended or found):
            continue
        tell(f"{hessian.products} products: largest eigenvalue {values[0]:.6g}, largest residual {worst:.2g}")
        settled = size == n or (
            found and agreed is not None and float(np.max(np.abs(values[:top] - agreed))) <= tolerance * extent
        )
        if settled or hessian.products >= most_products:
            rows.rotate(turned[:, :top])
            return _measured(hessian, rows, top=top, scale=extent, settled=settled)
        agreed = values[:top] if found else None
        kept = min(top + (size - top) // 3 + 1, size - 1)
        rows.rotate(turned[:, :kept])
        projected[:size, :size] = 0
        projected[range(kept), range(kept)] = values[:kept]
        if found:
            fresh.put(rows, kept)
        else:
            rows.move(size, to=kept)
        size = kept


def pair_of(hessian: Hessian, vector: Float[Tensor, " n"]) -> tuple[float, float]:
    """Return the Rayleigh quotient of a vector, and the norm of its residual, both relative to the vector's length."""
    product = hessian @ vector
    square = product_of(vector, vector)
    value = product_of(vector, product) / square
    return value, length(product.sub_(vector, alpha=value)) / math.sqrt(square)


def sight_of(hessian: Hessian, vector: Float[Tensor, " n"], *, basis: Basis, steps: int) -> Sight:
    """Return the spectrum as weighted by `vector` [n], from at most `steps` products. Overwrite the first rows of `basis`."""
    steps = min(steps, hessian.size)
    basis.put(0, vector, norm=length(vector))
    square = product_of(basis.row(0), basis.row(0))
    projected, scale, quotient, reach, done = np.zeros((steps, steps)), 0.0, 0.0, 0.0, 0
    for j in range(steps):
        product = hessian @ basis.row(j)
        if j == 0:
            quotient, reach = product_of(basis.row(0), product) / square, length(product) / math.sqrt(square)
        scale = max(scale, length(product))
        along = basis.orthogonalise(product, rows=j + 1).cpu().numpy()
        projected[j, : j + 1] = projected[: j + 1, j] = along
        rest, done = length(product), j + 1
        if done == steps or rest <= BREAKDOWN * scale:
            break
        basis.put(done, product, norm=rest)
    nodes, turned = symmetric_eigen(projected[:done, :done])
    return Sight(quotient, reach, nodes, turned[0] ** 2)


class _Fresh:
    """Random unit vectors orthogonal to a basis, each from its own stream."""

    def __init__(self, hessian: Hessian, seed: int) -> None:
        self._size, self._device, self._seed, self._drawn = hessian.size, hessian.device, seed, 0

    def put(self, rows: Basis, index: int) -> None:
        """Put the next vector into row `index`, orthogonal to the rows before it."""
        self._drawn += 1
        vector = normals(self._seed, stream=self._drawn, size=self._size, device=self._device).double()
        if index:
            rows.orthogonalise(vector, rows=index)
        rows.put(index, vector, norm=length(vector))


def _measured(hessian: Hessian, rows: Basis, *, top: int, scale: float, settled: bool) -> Pairs:
    """Return the first `top` rows as eigenvectors, with signs by rule and measured quotients and residuals."""
    vectors = torch.stack([rows.row(index) * sign_of(rows.row(index).cpu().numpy()) for index in range(top)])
    measured = np.array([pair_of(hessian, vector) for vector in vectors])
    order = np.argsort(-measured[:, 0], kind="stable")
    return Pairs(measured[order, 0], measured[order, 1], vectors[torch.from_numpy(order)], scale, settled)
