"""Checks the tensors and arrays of callers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tmrepro.errors import UsageError
from tmrepro.landscape.module import dtype_of, kind_of


def tensor_of(given: object, name: str) -> Tensor:
    """Return a dense tensor of real numbers; convert an array. Errors call it `name`.

    Raises:
        UsageError: `given` is neither a tensor nor an array of real numbers.
    """
    match given:
        case Tensor():
            found = given.detach()
        case np.ndarray():
            try:
                # A copy that torch may change, in the byte order of the machine.
                found = torch.from_numpy(np.array(given, dtype=given.dtype.newbyteorder("="), order="C"))
            except (TypeError, ValueError) as error:
                raise UsageError(f"{name}: {error}") from error
        case _:
            raise UsageError(f"{name}: expected a tensor or an array, got {kind_of(given)}")
    if found.layout is not torch.strided or found.is_nested or found.is_quantized:
        raise UsageError(
            f"{name}: expected a dense tensor, got a sparse, nested or quantized one; to_dense() gives one"
        )
    if found.is_meta:
        raise UsageError(f"{name}: is on the meta device, which holds no values")
    if found.is_complex():
        raise UsageError(f"{name}: expected real numbers, got {dtype_of(found)}")
    return found


def require_finite(values: Tensor, name: str) -> None:
    """Raise UsageError if a number of `values` is nan or infinite."""
    if values.is_floating_point() and not bool(torch.isfinite(values).all()):
        raise UsageError(f"{name}: has values that are not finite")
