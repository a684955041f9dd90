"""Eigenvalues of small symmetric matrices by Jacobi rotations: only sums, products, quotients and square roots.

LAPACK's results differ between processors in their last bits. Here, pairs that have no row in common are rotated together, in
a fixed order. So IEEE arithmetic defines every bit.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

SWEEPS = 60  # about eight are enough; the off-diagonal part shrinks quadratically
PRECISION = 1e-15  # of the off-diagonal part, relative to the matrix


def symmetric_eigen(
    matrix: Float64[np.ndarray, "m m"],
) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, "m m"]]:
    """Return the eigenvalues of a symmetric matrix, largest first, and its eigenvectors as columns in that order.

    Each pair of rows is rotated so that their common entry becomes 0, in a round-robin of all pairs (Golub and Van Loan,
    section 8.5).
    """
    m = len(matrix)
    a, vectors = matrix.copy(), np.eye(m)
    rounds = _rounds(m)
    norm = float(np.sqrt(np.sum(a * a)))
    for _ in range(SWEEPS):
        if float(np.sqrt(np.sum((a - np.diag(np.diag(a))) ** 2))) <= PRECISION * norm:
            break
        for p, q in rounds:
            c, s = _rotations(a[p, p], a[q, q], a[p, q])
            _rotate(a, p, q, c, s)
            _rotate(a.T, p, q, c, s)
            _rotate(vectors.T, p, q, c, s)
    values = np.diag(a)
    order = np.argsort(-values, kind="stable")
    return values[order], vectors[:, order]


def _rounds(m: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return all pairs of m indices, in rounds that have each index at most once."""
    even = m + m % 2
    found = []
    for turn in range(even - 1):
        circle = [0, *(1 + (turn + place) % (even - 1) for place in range(even - 1))]
        pairs = [sorted((circle[place], circle[-1 - place])) for place in range(even // 2)]
        kept = np.array([pair for pair in pairs if pair[1] < m], dtype=np.int64).reshape(-1, 2)
        if len(kept):
            found.append((kept[:, 0], kept[:, 1]))
    return found


def _rotations(first: np.ndarray, second: np.ndarray, shared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return cosines and sines, as columns, of the rotations that turn `shared` into 0; the identity where it is 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        cotangent = (second - first) / (2 * shared)
        tangent = np.where(cotangent < 0, -1.0, 1.0) / (np.abs(cotangent) + np.sqrt(cotangent * cotangent + 1))
    tangent = np.where(shared == 0, 0.0, tangent)
    cosine = 1 / np.sqrt(tangent * tangent + 1)
    return cosine[:, None], (tangent * cosine)[:, None]


def _rotate(a: np.ndarray, p: np.ndarray, q: np.ndarray, c: np.ndarray, s: np.ndarray) -> None:
    above, below = a[p], a[q]
    a[p], a[q] = c * above - s * below, s * above + c * below
