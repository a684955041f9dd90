"""Checks a Dataset of a surface or a line, which may have been sliced, saved, loaded or created elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float64

from tmrepro.errors import UsageError
from tmrepro.records import Surface


def require_dataset(given: Any) -> xr.Dataset:
    """Raise UsageError unless `given` is a Dataset with a loss along a, or along a and b."""
    if isinstance(given, xr.DataArray):
        raise UsageError("expected a Dataset of loss_surface, got one of its variables; give the Dataset itself")
    if not isinstance(given, xr.Dataset):
        raise UsageError(f"expected a Dataset of loss_surface, loss_line or open_run, got a {type(given).__name__}")
    if "epoch" in given.dims:
        raise UsageError("expected a surface, got the path of a training; give it as trajectory= beside a surface")
    if "loss" not in given or set(given["loss"].dims) not in ({"a", "b"}, {"a"}):
        raise UsageError(
            f"expected a loss along a and b, found {', '.join(map(str, given.data_vars)) or 'no variables'}"
        )
    for axis in given["loss"].dims:
        if axis not in given.coords:
            raise UsageError(f"expected the coordinate {axis}, which is missing")
        points = axis_of(given, str(axis))
        if not points.size or not np.all(np.isfinite(points)) or not np.all(points[1:] > points[:-1]):
            raise UsageError(f"expected ascending, finite numbers as the coordinate {axis}")
    return given


def is_line(ds: xr.Dataset) -> bool:
    """Return whether the Dataset is a line of `loss_line`."""
    return set(ds["loss"].dims) == {"a"}


def axis_of(ds: xr.Dataset, axis: str) -> Float64[np.ndarray, " K"]:
    """Return the points along an axis."""
    return np.asarray(ds[axis].values, dtype=np.float64)


def surface_in(ds: xr.Dataset) -> Surface:
    """Return the surface [a, b]. Accuracies are nan if it has none."""
    loss = np.asarray(ds["loss"].transpose("a", "b").values, dtype=np.float64)
    accuracy = np.full_like(loss, np.nan)
    if "accuracy" in ds:
        accuracy = np.asarray(ds["accuracy"].transpose("a", "b").values, dtype=np.float64)
    return Surface(loss=loss, accuracy=accuracy, a=axis_of(ds, "a"), b=axis_of(ds, "b"))


def home_of(*axes: np.ndarray) -> tuple[int, ...] | None:
    """Return the indices of theta*, where all coordinates are 0; None if theta* is not a point."""
    found = [np.flatnonzero(axis == 0) for axis in axes]
    return tuple(int(where[0]) for where in found) if all(where.size for where in found) else None


def number(ds: xr.Dataset, name: str, otherwise: float) -> float:
    """Return an attribute that is a number."""
    value = ds.attrs.get(name, otherwise)
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"attribute {name}: expected a number, found {value!r}") from error
