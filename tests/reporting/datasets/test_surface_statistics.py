"""`tmrepro.surface_statistics`: the numbers of statistics.json for a Dataset, wherever it comes from."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import tmrepro
from tmrepro.errors import UsageError
from tmrepro.statistics import STATISTICS

surface_statistics = inspect.unwrap(tmrepro.surface_statistics)  # as callers have it, without the tests' type checker


def test_numbers_of_a_bowl_by_hand(bowl):
    found = tmrepro.surface_statistics(bowl)
    assert list(found) == [info.name for info in STATISTICS]
    loss = bowl.loss.values
    assert (found["loss_at_minimum"], found["loss_min"], found["loss_max"]) == (1.0, 1.0, loss.max())
    assert found["loss_mean"] == pytest.approx(loss.mean())
    assert found["depth_below_minimum"] == 0
    assert found["non_finite"] == 0
    assert found["local_minima"] == 1
    assert found["convex_fraction"] == 1
    assert found["error_over_bound"] == 0.25
    # Central differences of 1 + a^2 + 3 b^2 + a b are 0 at 0; per unit of a and b, so the step counts.
    assert found["slope_at_minimum"] == pytest.approx(0, abs=1e-12)
    tilted = bowl.assign(loss=bowl.loss + 0.25 * bowl.a)
    assert tmrepro.surface_statistics(tilted)["slope_at_minimum"] == pytest.approx(0.25)


def test_the_same_after_files_transposition_and_other_attributes(bowl, tmp_path: Path):
    expected = tmrepro.surface_statistics(bowl)
    bowl.to_netcdf(tmp_path / "x.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "x.nc", engine="scipy") as stored:
        assert tmrepro.surface_statistics(stored) == expected
    assert tmrepro.surface_statistics(bowl.transpose("b", "a")) == expected
    bare = bowl.drop_attrs()
    assert tmrepro.surface_statistics(bare) == expected | {"error_over_bound": None}
    cut = bowl.isel(a=slice(1, None))  # theta* is where a = b = 0, whatever an attribute once said
    assert tmrepro.surface_statistics(cut.assign_attrs(home=[3, 2]))["loss_at_minimum"] == 1.0
    thinned = bowl.isel(a=slice(1, None, 2), b=slice(None, None, 2)).assign_attrs(step=0.5)
    assert tmrepro.surface_statistics(thinned + 0.25 * thinned.a)["slope_at_minimum"] == pytest.approx(0.25)


@pytest.mark.parametrize("origin", ["corner", "center"])
def test_of_a_surface_of_ones_own(origin):
    model, x = nn.Linear(3, 1), torch.randn(40, 3, generator=torch.Generator().manual_seed(1))
    ds = tmrepro.loss_surface(model, "mse", x, x[:, :1], grid=5, origin=origin, step=0.1, unit="relative")
    found = tmrepro.surface_statistics(ds)
    home = tuple(ds.attrs["home"])
    assert found["loss_at_minimum"] == float(ds.loss.values[home])
    assert found["error_over_bound"] == ds.attrs["error_over_bound"]
    slopes = [np.gradient(ds.loss.values, ds[axis].values, axis=k)[home] for k, axis in enumerate(("a", "b"))]
    assert found["slope_at_minimum"] == pytest.approx(float(np.hypot(*slopes)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ds: ds.loss, "got one of its variables; give the Dataset itself"),
        (lambda _: {"loss": [1, 2]}, "expected a Dataset of loss_surface, loss_line or open_run, got a dict"),
        (lambda ds: ds.rename(loss="cost"), "expected a loss along a and b, found cost"),
        (lambda ds: ds.isel(b=2, drop=True), "got a line: statistics need a surface"),
        (lambda ds: ds.isel(a=slice(4, None)), "is not a point of this surface"),
        (lambda ds: ds.isel(a=[0, 3, 4]), "evenly spaced points with the same step along a and b"),
        (lambda ds: ds.assign_coords(b=2 * ds.b), "evenly spaced points with the same step along a and b"),
        (lambda ds: ds.isel(a=slice(None, None, -1)), "expected ascending, finite numbers as the coordinate a"),
        (lambda ds: ds.drop_vars("a"), "expected the coordinate a, which is missing"),
        (
            lambda ds: ds.assign_attrs(error_over_bound="much"),
            "attribute error_over_bound: expected a number, found 'much'",
        ),
        (lambda _: xr.Dataset({"loss": ("epoch", [1.0])}, {"epoch": [0]}), "got the path of a training"),
    ],
)
def test_what_is_no_such_surface_is_told_in_words(bowl, change, words):
    with pytest.raises(UsageError, match=words):
        surface_statistics(change(bowl))
