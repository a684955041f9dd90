"""Theta as one vector and back: all of `model.named_parameters()`, in that order, each flattened in C order."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from jaxtyping import Float
from torch import nn


@dataclass(frozen=True)
class ParameterShape:
    """Name and shape of one parameter; a tuple of them is the layout of theta."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of scalars."""
        return prod(self.shape)


Layout = tuple[ParameterShape, ...]


def layout_of(model: nn.Module) -> Layout:
    """Return names and shapes in order, which turn a vector back into parameters (safetensors keeps no order)."""
    return tuple(ParameterShape(name, tuple(value.shape)) for name, value in model.named_parameters())


def theta_of(model: nn.Module) -> Float[np.ndarray, " n"]:
    """Return all parameters as one vector [n] on the CPU: float64 if any of them is, else float32."""
    parts = [value.detach().reshape(-1).cpu().numpy() for value in model.parameters()]
    vector = np.concatenate(parts)
    return vector if vector.dtype == np.float64 else vector.astype(np.float32, copy=False)


def split_theta(vector: Float[np.ndarray, " n"], *, layout: Layout) -> dict[str, np.ndarray]:
    """Return the parts of `vector` [n], by parameter name, as views of their shapes."""
    parts, offset = {}, 0
    for parameter in layout:
        parts[parameter.name] = vector[offset : offset + parameter.size].reshape(parameter.shape)
        offset += parameter.size
    return parts


def dot(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> float:
    """Return the inner product, in float64. BLAS is not used: its sums differ between processors."""
    products = one.astype(np.float64)
    products *= other
    return float(np.sum(products))


def norm_of(vector: Float[np.ndarray, " n"]) -> float:
    """Return the L2 norm, in float64. BLAS is not used: its sums differ between processors."""
    squares = vector.astype(np.float64)
    squares *= squares
    return float(np.sqrt(np.sum(squares)))
