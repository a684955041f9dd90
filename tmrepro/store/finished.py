"""Reads a finished run or a reference without torch, for tables, pages and exports."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from tmrepro.errors import DamagedError, UsageError
from tmrepro.records import History, Minimum, Surface, SurfaceFacts, TrajectoryPoint
from tmrepro.spec import LOSS_UNITS, DrawnSurface, Spec, TrainedModel, expand_models, expand_surfaces, surfaces_around
from tmrepro.store.atomic import safe_path
from tmrepro.store.attributes import flat_attributes
from tmrepro.store.documents import load_history, read_json
from tmrepro.store.kept_surfaces import QUESTION
from tmrepro.store.labels import labelled
from tmrepro.store.manifest import check_manifest, told
from tmrepro.store.minima import read_minimum
from tmrepro.store.run_files import BANDS, HISTORY, PROVENANCE, SPEC, model_file
from tmrepro.store.specs import read_spec
from tmrepro.store.statistics import StoredStatistics, read_statistics
from tmrepro.store.surfaces import read_surface
from tmrepro.store.trajectories import load_trajectory
from tmrepro.store.zarr_metadata import error_attributes

Kind = Literal["run", "reference"]


@dataclass(frozen=True)
class Finished:
    """A folder that matches its manifest. Surfaces, histories and paths are read on request.

    `name` is the name of the folder in messages.
    """

    folder: Path
    name: str
    kind: Kind
    spec: Spec
    minima: Mapping[str, Minimum]
    statistics: StoredStatistics
    provenance: Mapping[str, Any]

    @property
    def models(self) -> Mapping[str, TrainedModel]:
        """The trained networks by name, including replicates."""
        return {model.name: model for model in expand_models(self.spec)}

    @property
    def surfaces(self) -> Mapping[tuple[str, str], DrawnSurface]:
        """(SURFACE, MODEL) of every surface. Networks that collapsed or diverged have none."""
        return {
            (drawn.name, model): drawn
            for drawn in expand_surfaces(self.spec)
            for model in drawn.models
            if self.minima[model].has_surface
        }

    @property
    def unit(self) -> str:
        """The unit of the losses."""
        return LOSS_UNITS[self.spec.models[0].training.loss]

    def surface(self, surface: str, model: str) -> tuple[Surface, SurfaceFacts, tuple[int, int], float]:
        """Return a surface with its attributes, the index of theta*, and its step."""
        return read_surface(self.folder, surface, model)

    def dataset(self, surface: str, model: str) -> xr.Dataset:
        """Return a surface with named axes."""
        return surface_dataset(self.folder, surface, model, unit=self.unit)

    def history(self, model: str) -> History:
        """Return the epochs of a training."""
        relative = model_file(model, HISTORY)
        return load_history(safe_path(self.folder, relative), name=relative)

    def trajectory(self, model: str) -> tuple[TrajectoryPoint, ...]:
        """Return the path of a training. Empty if the spec records none, or the network collapsed."""
        if self.models[model].spec.training.trajectory is None or not self.minima[model].has_surface:
            return ()
        return load_trajectory(self.folder, model, surfaces=surfaces_around(self.spec, model))


def read_finished(folder: Path) -> Finished:
    """Open the finished run or reference in `folder`.

    Raises:
        UsageError: it is a surface kept by `tmrepro.loss_surface`.
        DamagedError: the folder has no run, or a run that is not finished or differs from its manifest.
    """
    if not os.path.lexists(folder / SPEC):
        if os.path.lexists(folder / QUESTION):
            raise UsageError(
                f"{folder} is a surface kept by tmrepro.loss_surface, not a run: "
                f"xarray.open_zarr('{folder}/surfaces.zarr', group='own/model') opens it"
            )
        raise DamagedError(f"{folder}: not a run or a reference; create a run with 'tmrepro run SPEC --out RUN'")
    findings = check_manifest(folder)
    if findings:
        raise DamagedError(f"{folder}: {told(folder, findings)}")
    spec = read_spec(folder)
    provenance = read_json(safe_path(folder, PROVENANCE), name=f"{folder}/provenance.json")
    if not isinstance(provenance, dict):
        raise DamagedError(f"{folder}/provenance.json: expected an object, found a {type(provenance).__name__}")
    return Finished(
        folder=folder,
        name=str(folder),
        kind="reference" if os.path.lexists(folder / BANDS) else "run",
        spec=spec,
        minima={model.name: read_minimum(folder, model.name) for model in expand_models(spec)},
        statistics=read_statistics(folder, name=f"{folder}/statistics.json"),
        provenance=provenance,
    )


def surface_dataset(folder: Path, surface: str, model: str, *, unit: str = "nats") -> xr.Dataset:
    """Return loss (in `unit`) and accuracy (a share) over a and b. The stored attributes are flat, for `to_netcdf`.

    Raises:
        DamagedError: the surface is missing or damaged.
    """
    values, facts, home, step = read_surface(folder, surface, model)
    found = xr.Dataset(
        {"loss": (("a", "b"), values.loss), "accuracy": (("a", "b"), values.accuracy)},
        coords={"a": ("a", values.a), "b": ("b", values.b)},
        attrs=flat_attributes(
            {
                "home": list(home),
                "step": step,
                "cosine": facts.cosine,
                "theta_norm": facts.theta_norm,
                "images": facts.images,
                "labels": facts.labels,
                "delta_norm": facts.delta.norm,
                "eta_norm": facts.eta.norm,
                **error_attributes(facts.error),
            }
        ),
    )
    return labelled(found, unit=unit)


def path_outside(target: Path, folder: Path, *, option: str) -> Path:
    """Return `target`. Raise UsageError if it is in `folder`.

    Raises:
        UsageError: `target` is in `folder`, whose manifest would become invalid.
    """
    if target.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{target} is in {folder}, which must match its manifest; choose another {option}")
    return target
