"""The caller's own directions: by name, as a list of tensors, as vectors, or as a plane from another function."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from tmrepro.errors import UsageError
from tmrepro.landscape.module import kind_of
from tmrepro.landscape.planes import Plane
from tmrepro.landscape.tensors import tensor_of
from tmrepro.networks.parameters import Layout, split_theta
from tmrepro.spec.messages import did_you_mean

LARGEST_SEED = 2**63  # exclusive

Vectors = tuple[np.ndarray, np.ndarray]


def own_vectors(directions: object, *, layout: Layout) -> Vectors | None:
    """Return the caller's own two directions as vectors [n]; None if `directions` are seeds.

    Raises:
        UsageError: neither; or a direction with an unknown name, another shape, or values that are not finite.
    """
    match directions:
        case (int() | np.integer(), int() | np.integer()):
            return None
        case Plane(eta=None):
            raise UsageError("directions: a line has one direction, but a surface needs two; use loss_line")
        case Plane(delta=delta, eta=eta):
            return _vector(delta, "directions: delta", layout=layout), _vector(eta, "directions: eta", layout=layout)
        case (delta, eta):
            return _vector(delta, "directions: delta", layout=layout), _vector(eta, "directions: eta", layout=layout)
        case _:
            raise UsageError(
                "directions: expected two seeds, or two directions, each a dict by parameter name, a list of tensors (one per "
                f"parameter) or a vector, got {kind_of(directions)}"
            )


def own_vector(direction: object, *, layout: Layout) -> int | np.ndarray:
    """Return the caller's own direction as a vector [n], or a seed.

    Raises:
        UsageError: see `own_vectors`.
    """
    match direction:
        case bool() | None:
            raise UsageError(f"direction: expected a seed or a direction of your own, got {direction!r}")
        case int() | np.integer():
            if not 0 <= direction < LARGEST_SEED:
                raise UsageError(f"direction: expected a seed of at least 0, below 2^63, got {direction}")
            return int(direction)
        case Plane(delta=delta):
            return _vector(delta, "direction", layout=layout)
        case _:
            return _vector(direction, "direction", layout=layout)


def _vector(given: object, which: str, *, layout: Layout) -> np.ndarray:
    n = sum(parameter.size for parameter in layout)
    vector = np.zeros(n, dtype=np.float32)
    if isinstance(given, list | tuple):
        if len(given) != len(layout):
            raise UsageError(f"{which}: expected a tensor per parameter ({len(layout)}), got {len(given)}")
        given = {parameter.name: value for parameter, value in zip(layout, given, strict=True)}
    if isinstance(given, Mapping):
        parts = split_theta(vector, layout=layout)
        for name, value in given.items():
            if name not in parts:
                raise UsageError(f"{which}: no parameter {name!r}{did_you_mean(name, tuple(parts))}")
            found = _array(value, f"{which}: {name}")
            if found.shape != parts[name].shape:
                raise UsageError(f"{which}: {name}: expected shape {list(parts[name].shape)}, got {list(found.shape)}")
            parts[name][...] = found
    else:
        found = _array(given, which)
        if found.shape != (n,):
            raise UsageError(f"{which}: expected a vector of {n} numbers, got shape {list(found.shape)}")
        vector[...] = found
    if not np.all(np.isfinite(vector)):
        raise UsageError(f"{which}: has values that are not finite")
    return vector


def _array(given: object, name: str) -> np.ndarray:
    found = tensor_of(given, name)
    return (found.float() if found.dtype == torch.bfloat16 else found).numpy(force=True)  # numpy has no bfloat16
