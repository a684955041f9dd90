"""One netCDF-4 file: groups surfaces/SURFACE/MODEL, as in surfaces.zarr, and training/MODEL.

A surface has loss and accuracy over a and b, the points that define its plane, and the path of training in it. Its facts and
statistics are attributes. A training has its history over `epoch`, and minimum.json as attributes.
"""

from __future__ import annotations

from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import numpy as np
import xarray as xr

from tmrepro.records import Epoch, TrajectoryPoint
from tmrepro.reporting.masthead import masthead
from tmrepro.spec import dump_spec, spec_hash
from tmrepro.store.attributes import flat_attributes
from tmrepro.store.finished import Finished
from tmrepro.store.minima import minimum_document


def write_netcdf(run: Finished, path: Path) -> None:
    """Write the file `path`."""
    groups = {"/": xr.Dataset(attrs=_about(run))}
    for surface, model in run.surfaces:
        groups[f"/surfaces/{surface}/{model}"] = _surface(run, surface, model)
    for model in run.models:
        groups[f"/training/{model}"] = _training(run, model)
    compressed = {"zlib": True, "complevel": 4, "shuffle": True}
    encoding = {
        name: {variable: compressed for variable in ("loss", "accuracy") if variable in group}
        for name, group in groups.items()
    }
    xr.DataTree.from_dict(groups).to_netcdf(path, engine="h5netcdf", encoding=encoding)


def _about(run: Finished) -> dict[str, str]:
    told = {f"about_{term.lower()}": words for term, words in masthead(run.provenance).items() if term != "Paper"}
    return {
        "title": f"Loss surfaces of the spec {run.spec.name}",
        "source": f"tmrepro {version('tmrepro')}",
        "references": masthead({})["Paper"],
        "spec": dump_spec(run.spec),
        "spec_hash": spec_hash(run.spec),
        **told,
    }


def _surface(run: Finished, surface: str, model: str) -> xr.Dataset:
    found = run.dataset(surface, model)
    _, facts, _, _ = run.surface(surface, model)
    stored = run.statistics.get(surface, {}).get(model, {})
    found.attrs |= flat_attributes({f"statistic_{name}": value for name, value in stored.items()})
    if facts.marks:
        found["mark"] = ("mark", [mark.name for mark in facts.marks], {"long_name": "network whose theta* it is"})
        for axis in ("a", "b"):
            found[f"mark_{axis}"] = ("mark", [getattr(mark, axis) for mark in facts.marks], {"units": "1"})
    path = run.trajectory(model)
    if path:
        found["epoch"] = _epochs(path)
        for name in ("a", "b", "distance"):
            values = _numbers([getattr(point.places[surface], name) for point in path])
            found[f"path_{name}"] = ("epoch", values, {"units": "1"})
    return found


def _training(run: Finished, model: str) -> xr.Dataset:
    epochs = run.history(model).epochs
    found = xr.Dataset(attrs=flat_attributes(minimum_document(run.minima[model])))
    found["epoch"] = ("epoch", np.array([epoch.epoch for epoch in epochs], dtype=np.int32), {"units": "1"})
    for field in fields(Epoch):
        if field.name != "epoch":
            values = _numbers([getattr(epoch, field.name) for epoch in epochs])
            found[field.name] = ("epoch", values, {"units": _unit(field.name, run.unit)})
    path = run.trajectory(model)
    if path:
        found["path_epoch"] = ("path_epoch", _epochs(path)[1], {"units": "1"})
        for name in ("loss", "distance", "gradient_norm", "cosine"):
            found[f"path_{name}"] = ("path_epoch", _numbers([getattr(point, name) for point in path]))
        for place in (0, 1):
            along = [None if point.components is None else point.components[place] for point in path]
            found[f"path_pca_{place + 1}"] = ("path_epoch", _numbers(along))
    return found


def _epochs(path: tuple[TrajectoryPoint, ...]) -> tuple[str, np.ndarray, dict[str, str]]:
    return "epoch", np.array([point.epoch for point in path], dtype=np.int32), {"units": "1"}


def _numbers(values: list[float | None]) -> np.ndarray:
    """Return the values as an array, with nan for undefined."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _unit(column: str, unit: str) -> str:
    return unit if column.endswith("_loss") else {"seconds": "s"}.get(column, "1")
