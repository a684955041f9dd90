"""The two principal components of a path of parameters, without ever holding the path in memory.

What is decomposed is the n x n matrix of the inner products between the n points, summed over pieces of theta; the components
are combinations of the points. So ResNet50 with fifty points, 5 GB on the disk, takes about 1 GB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from tmrepro.parameters import Layout

PIECE = 2**21  # numbers of each point that are in memory at a time
DIGITS = 12  # LAPACK differs between processors in the last digits
LEAST_SHARE = 1e-12  # of the variance: a component below it is rounding


@dataclass(frozen=True)
class Components:
    """The principal components of n points of N parameters.

    `directions` [2, N], float32, have unit norm, the largest entry (the first of equals) positive; one that does not exist,
    since the points lie on a line or in one place, is zero. `explained` [2] are their shares of the variance around the mean of
    the points; `coordinates` [n, 2] those of the points, counted from theta*.
    """

    directions: Float[np.ndarray, "2 N"]
    explained: tuple[float, float]
    coordinates: Float[np.ndarray, "n 2"]


def principal_components(
    read: Callable[[int, str], np.ndarray], count: int, *, theta_star: Float[np.ndarray, " N"], layout: Layout
) -> Components:
    """The components of `count` points; `read(i, name)` is the parameter `name` of point i.

    As Li et al. 2018, section 7, and their tool: the points are seen from theta*, and their mean is taken off.
    """
    products = torch.zeros(count, count, dtype=torch.float64)
    for _, away in _pieces(read, count, theta_star=theta_star, layout=layout):
        products += away @ away.T
    centred = products - products.mean(0, keepdim=True) - products.mean(1, keepdim=True) + products.mean()
    values, vectors = np.linalg.eigh(_rounded((centred + centred.T).numpy() / 2))
    total = float(np.sum(np.clip(values, 0, None)))
    shares = [float(value) / total if total > 0 else 0.0 for value in values[:-3:-1]] + [0.0, 0.0]
    weights = np.zeros((2, count))
    for k, share in enumerate(shares[:2]):
        if share > LEAST_SHARE:
            vector = _rounded(vectors[:, -1 - k])
            weights[k] = (vector - vector.mean()) / np.sqrt(values[-1 - k])
    wide = np.zeros((2, theta_star.size))
    for place, away in _pieces(read, count, theta_star=theta_star, layout=layout):
        wide[:, place] = (torch.from_numpy(weights) @ away).numpy()
    signs = np.array([-1.0 if row[np.argmax(np.abs(row))] < 0 else 1.0 for row in wide])
    coordinates = (products @ torch.from_numpy(weights).T).numpy() * signs
    return Components(
        directions=(wide * signs[:, None]).astype(np.float32),
        explained=(_rounded_number(max(shares[0], 0.0)), _rounded_number(max(shares[1], 0.0))),
        coordinates=_rounded(coordinates),
    )


def _pieces(
    read: Callable[[int, str], np.ndarray], count: int, *, theta_star: np.ndarray, layout: Layout
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Where in theta a piece is, and points - theta* there [n, size], in float64."""
    start = 0
    for parameter in layout:
        for begin in range(0, parameter.size, PIECE):
            size = min(PIECE, parameter.size - begin)
            place = slice(start + begin, start + begin + size)
            away = np.empty((count, size))
            for i in range(count):
                away[i] = read(i, parameter.name).reshape(-1)[begin : begin + size]
                away[i] -= theta_star[place]
            yield place, torch.from_numpy(away)
        start += parameter.size


def _rounded(numbers: np.ndarray) -> np.ndarray:
    """To `DIGITS` digits of the largest."""
    largest = float(np.max(np.abs(numbers), initial=0.0))
    if not 0 < largest < np.inf:
        return numbers
    return np.round(numbers, min(DIGITS - 1 - int(np.floor(np.log10(largest))), 300))


def _rounded_number(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")
