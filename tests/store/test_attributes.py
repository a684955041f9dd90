"""Surfaces as netCDF, by the backend that needs nothing but SciPy (netCDF 3)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import tmrepro
from tmrepro.store.attributes import flat_attributes

SPEC = """
version: 1
name: tiny
data: {name: digits, train: 20, validation: 10, size: 8}
models: [{name: dnn, kind: dnn, widths: [4, 10]}]
training: {batch_size: 20, max_epochs: 2, warmup_steps: 0, stop: {at: never, patience: 1}}
surfaces: [{name: far, grid: {K: 3, origin: center, step: 1.0e+38}}]
compute: {threads: 1}
"""


def stored(dataset: xr.Dataset, path: Path) -> xr.Dataset:
    dataset.to_netcdf(path, engine="scipy")
    with xr.open_dataset(path, engine="scipy") as found:
        return found.load()


def test_attributes_are_numbers_text_and_lists_of_numbers(tmp_path: Path) -> None:
    given = {
        "delta": {"seed": 2**40, "norm": 1.0, "of": {"x": "é"}},
        "none": None,
        "flag": True,
        "home": (1, 2),
        "points": [(0, 1), (2, 3)],
        "names": ["a", "b"],
        "nothing": [],
        "empty": "",
        "numpy": np.float32(0.5),
        "axis": np.arange(3),
        "infinite": float("inf"),
    }
    flat = flat_attributes(given)
    assert flat == {
        "delta_seed": str(2**40), "delta_norm": 1.0, "delta_of_x": "é", "flag": 1, "home": [1, 2], "points": [0, 1, 2, 3],
        "names": "a, b", "empty": "", "numpy": 0.5, "axis": [0, 1, 2], "infinite": float("inf"),
    }  # fmt: skip
    found = stored(xr.Dataset(attrs=flat), tmp_path / "x.nc")
    assert set(found.attrs) == set(flat)
    assert all(np.array_equal(np.ravel(found.attrs[name]), np.ravel(value)) for name, value in flat.items())


def test_a_surface_of_a_run_comes_back_from_netcdf(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SPEC, encoding="utf-8")
    run = tmrepro.run(tmp_path / "tiny.yaml", out=tmp_path / "run").run
    surface = tmrepro.open_run(run).surface("far", "dnn")
    assert stored(surface, tmp_path / "x.nc").identical(surface)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"directions": (1, 2**63 - 1)},
        {"directions": (torch.ones(10), torch.arange(10.0)), "grid": ([0.5, 1.0], [0.0, 1.0, 2.0])},
    ],
)
def test_a_loss_surface_comes_back_from_netcdf(tmp_path: Path, options: dict) -> None:
    inputs, targets = torch.eye(4), torch.tensor([0, 1, 1, 0])
    surface = tmrepro.loss_surface(
        torch.nn.Linear(4, 2), "cross_entropy", inputs, targets, **({"grid": 2} | options), out=tmp_path / "kept"
    )
    assert stored(surface, tmp_path / "x.nc").identical(surface)
