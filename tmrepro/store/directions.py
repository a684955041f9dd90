"""models/NAME/directions-SURFACE.safetensors: the two directions of a surface, if seeds do not determine them.

They are the vectors before normalisation, in the order of theta: `delta` and `eta`, float32 [n].
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from tmrepro.errors import DamagedError
from tmrepro.store.atomic import safe_path
from tmrepro.store.tensors import load_tensors, save_tensors

Vectors = tuple[Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]]


def directions_file(surface: str, model: str) -> str:
    """Return the path of the file, relative to the run."""
    return f"models/{model}/directions-{surface}.safetensors"


def save_directions(run: Path, surface: str, model: str, vectors: Vectors, *, work: Path) -> str:
    """Write both vectors. Return the path relative to `run`."""
    relative = directions_file(surface, model)
    save_tensors(run / relative, dict(zip(("delta", "eta"), vectors, strict=True)), work=work)
    return relative


def load_directions(run: Path, surface: str, model: str, *, size: int) -> Vectors:
    """Return both vectors, of `size` numbers each.

    Raises:
        DamagedError: the file is missing or invalid.
    """
    relative = directions_file(surface, model)
    found = load_tensors(safe_path(run, relative), limit_bytes=8 * size, name=relative)
    kinds = {name: (value.dtype, value.shape) for name, value in found.items()}
    expected = (np.dtype(np.float32), (size,))
    if kinds != {"delta": expected, "eta": expected}:
        raise DamagedError(f"{relative}: expected delta and eta, float32 [{size}], found others")
    if not all(bool(np.isfinite(value).all()) for value in found.values()):
        raise DamagedError(f"{relative}: expected finite numbers, found others")
    return found["delta"], found["eta"]
