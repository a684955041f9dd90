"""A surface of a function that anyone can write down, as `loss_surface` gives it, and lines of the same."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

A, B = np.arange(-3, 4) * 0.5, np.arange(-2, 3) * 0.5


@pytest.fixture
def bowl() -> xr.Dataset:
    """1 + a^2 + 3 b^2 + a b, not square, and not the same with its axes swapped."""
    a, b = np.meshgrid(A, B, indexing="ij")
    return xr.Dataset(
        {"loss": (("a", "b"), 1 + a**2 + 3 * b**2 + a * b)},
        coords={"a": A, "b": B},
        attrs={
            "delta_norm": 1.0,
            "eta_norm": 2.0,
            "theta_norm": 5.0,
            "cosine": 0.0,
            "images": 9,
            "error_over_bound": 0.25,
        },
    )


@pytest.fixture
def line(bowl: xr.Dataset) -> xr.Dataset:
    found = bowl.isel(b=2, drop=True)
    found.loss.attrs = {"long_name": "mean squared error", "units": "(target unit)^2"}
    found.a.attrs = {"long_name": "a, distance along direction", "units": "1"}
    return found
