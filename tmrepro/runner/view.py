"""`open_run`: reads a run folder as arrays and modules. Everything read from the folder is checked."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from tmrepro.data import Dataset, load_dataset, network_inputs, place_of
from tmrepro.directions.gaussian import DirectionPair, surface_directions
from tmrepro.errors import DamagedError, UsageError
from tmrepro.networks import code_changes
from tmrepro.networks.parameters import layout_of, split_theta, theta_of
from tmrepro.records import History, Minimum, Signature, TrajectoryPoint
from tmrepro.reporting.cells import folder_html
from tmrepro.runner.weights import load_theta
from tmrepro.spec import (
    LOSS_UNITS,
    CustomDataSpec,
    CustomModel,
    DataSpec,
    DrawnSurface,
    Spec,
    TrainedModel,
    expand_models,
    expand_surfaces,
    surfaces_around,
)
from tmrepro.spec.user_paths import user_path
from tmrepro.store.atomic import safe_path
from tmrepro.store.directions import Vectors, load_directions
from tmrepro.store.documents import load_history, read_json
from tmrepro.store.finished import surface_dataset
from tmrepro.store.minima import read_minimum
from tmrepro.store.run_files import HISTORY, LABELS, PROVENANCE, SPEC, model_file
from tmrepro.store.signatures import recorded_home, recorded_signature
from tmrepro.store.specs import read_spec
from tmrepro.store.stages import recorded_code, recorded_data_code, stages_in
from tmrepro.store.statistics import read_statistics
from tmrepro.store.tensors import check_labels, load_labels
from tmrepro.store.trajectories import load_trajectory
from tmrepro.usercode import CodeChanges, CodeRecord, changes_since


def open_run(run: Path | str, *, data_dir: Path | str | None = None, trust_code: bool = False) -> RunView:
    """Open the run folder `run`, read-only.

    Args:
        run: a run folder.
        data_dir: the folder of the data, for `inputs()` of runs on CIFAR-10 or an image folder.
        trust_code: allow importing, and so running, the code of a `custom` model or data factory that the spec names.

    Raises:
        DamagedError: the folder has no run, or its spec is invalid.
    """
    folder = user_path(run)
    if not os.path.lexists(folder / SPEC):
        raise DamagedError(
            f"{folder}: not a run folder (spec.yaml is missing); create a run with 'tmrepro run SPEC --out {folder}'"
        )
    spec = read_spec(folder)
    return RunView(folder, spec, data_dir=user_path(data_dir) if data_dir is not None else None, trust_code=trust_code)


class RunView:
    """The content of a run folder. Every method reads the files again, and raises DamagedError if they are damaged."""

    def __init__(self, folder: Path, spec: Spec, *, data_dir: Path | None, trust_code: bool) -> None:
        self.folder = folder
        self.spec = spec
        self._data_dir = data_dir
        self._trust_code = trust_code
        self._models = {model.name: model for model in expand_models(spec)}
        self._surfaces = {surface.name: surface for surface in expand_surfaces(spec)}
        self._code: dict[str, CodeChanges] = {}

    def _repr_html_(self) -> str:
        title = f"{self.folder}: spec {self.spec.name}, data {self.spec.data.name}"
        return folder_html(self.folder, title=title, models=self.models)

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the trained networks, including replicates."""
        return tuple(self._models)

    @property
    def surfaces(self) -> tuple[tuple[str, str], ...]:
        """(SURFACE, MODEL) of every surface of the run. Networks that collapsed or diverged have none."""
        return tuple(
            (surface.name, model)
            for surface in self._surfaces.values()
            for model in surface.models
            if self.minimum(model).has_surface
        )

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The content of provenance.json."""
        document: Mapping[str, Any] = self._json(PROVENANCE)
        return document

    @property
    def statistics(self) -> Mapping[str, Mapping[str, Mapping[str, float | int | None]]]:
        """The content of statistics.json: SURFACE -> MODEL -> statistic -> value."""
        return read_statistics(self.folder)

    def surface(self, surface: str, model: str) -> xr.Dataset:
        """Return the loss and the accuracy (a share) over a and b. The stored attributes are flat, for `to_netcdf`."""
        self._wanted(surface, self._surfaces, "surface")
        self._wanted(model, self._models, "model")
        unit = LOSS_UNITS[self.spec.models[0].training.loss]
        return surface_dataset(self.folder, surface, model, unit=unit)

    def model(self, model: str) -> nn.Module:
        """Return the network at theta*, in eval mode, on the CPU. It maps inputs, such as pictures [n, 3, h, w], to logits."""
        trained: TrainedModel = self._wanted(model, self._models, "model")
        self._require_theta(model)
        if isinstance(trained.spec, CustomModel):
            self.require_trust(trained.spec)
            if changed := self.code_changes(model).files:
                told = "; ".join(changed)
                raise DamagedError(
                    f"model {model!r}: the code has changed since the run: {told}; restore the code of the run"
                )
        return load_theta(self.folder, trained, signature=self.signature)

    def require_trust(self, spec: CustomModel | CustomDataSpec) -> None:
        """Raise UsageError unless the code that the run's spec names may be imported."""
        if not self._trust_code:
            what = f"model {spec.name!r} needs" if isinstance(spec, CustomModel) else "the data need"
            raise UsageError(
                f"{what} the code of {spec.factory}, which the run's spec names: "
                "read the code, then allow it with --trust-code (open_run: trust_code=True)"
            )

    @cached_property
    def data_code_changes(self) -> CodeChanges:
        """Return how the present code of a data factory differs from that of the run. This imports the code, if it is trusted.

        Raises:
            DamagedError: the run has no record of the code.
            UsageError: the code is not trusted, or cannot be used.
        """
        if not isinstance(self.spec.data, CustomDataSpec):
            return CodeChanges((), ())
        self.require_trust(self.spec.data)
        recorded = recorded_data_code(stages_in(self.provenance))
        return changes_since(
            recorded, factory=self.spec.data.factory, find=lambda: self._loaded.code or CodeRecord({}, {})
        )

    @cached_property
    def signature(self) -> Signature:
        """Return the shapes and types of inputs and outputs of the run's networks."""
        return recorded_signature(self.provenance, self.spec)

    @cached_property
    def _loaded(self) -> Dataset:
        if isinstance(self.spec.data, CustomDataSpec):
            self.require_trust(self.spec.data)
        return load_dataset(self.spec.data, data_dir=self.data_place)

    @property
    def data_place(self) -> Path | None:
        """Return the folder of the data: `data_dir`, or the place that the run recorded."""
        home = recorded_home(self.folder, self._recorded_data())
        return place_of(self.spec.data, data_dir=self._data_dir, home=home)

    def code_changes(self, model: str) -> CodeChanges:
        """Return how the present code of a custom model differs from that of the run.

        This imports the code: call `require_trust` first.

        Raises:
            DamagedError: the run has no record of the code.
            UsageError: the code cannot be used.
        """
        trained: TrainedModel = self._wanted(model, self._models, "model")
        if model not in self._code and isinstance(trained.spec, CustomModel):
            record = recorded_code(stages_in(self.provenance)).get(model)
            if record is None:
                raise DamagedError(
                    f"provenance.json: expected the code that {model} was trained with, found no record of it"
                )
            self._code[model] = code_changes(trained.spec, record, signature=self.signature)
        return self._code.get(model, CodeChanges((), ()))

    def minimum(self, model: str) -> Minimum:
        """Return the content of models/NAME/minimum.json."""
        self._wanted(model, self._models, "model")
        return read_minimum(self.folder, model)

    def history(self, model: str) -> History:
        """Return the content of models/NAME/history.csv."""
        self._wanted(model, self._models, "model")
        relative = model_file(model, HISTORY)
        return load_history(safe_path(self.folder, relative), name=relative)

    def trajectory(self, model: str) -> tuple[TrajectoryPoint, ...]:
        """Return models/NAME/trajectory.csv, the path of training. Empty if the spec records none or the network collapsed."""
        trained: TrainedModel = self._wanted(model, self._models, "model")
        training = trained.spec.training
        if training.trajectory is None or not self.minimum(model).has_surface:
            return ()
        return load_trajectory(self.folder, model, surfaces=surfaces_around(self.spec, model))

    def labels(self, model: str) -> Tensor:
        """Return the network's own labels in data order: int64 [n] (hard), float32 [n, classes] (soft) or [n, ...] (mse)."""
        self._wanted(model, self._models, "model")
        self._require_theta(model)
        relative = model_file(model, LABELS)
        labels = load_labels(safe_path(self.folder, relative), name=relative)
        images = self.spec.data.train or self._recorded_data().get("train")
        if not isinstance(images, int):
            raise DamagedError("provenance.json: data: expected the number of training images, found none")
        check_labels(labels, images=images, outputs=self.signature.outputs, name=relative)
        return torch.from_numpy(np.array(labels))

    def inputs(self) -> Tensor:
        """Return the training inputs as the models see them, in data order: for pictures, float32 [n, 3, h, w]."""
        dataset = self.dataset
        return network_inputs(dataset, dataset.train, scaling=self.spec.data.scaling, device=torch.device("cpu"))

    def held_out(self) -> tuple[Tensor, Tensor]:
        """Return the held-out inputs and their labels, in data order, in the form of `inputs` and `original_labels`."""
        data = self.dataset
        inputs = network_inputs(data, data.validation, scaling=self.spec.data.scaling, device=torch.device("cpu"))
        return inputs, torch.from_numpy(data.validation.labels)

    def original_labels(self) -> Tensor:
        """Return the given labels of the training part, in data order: int64 [n]; float32 [n, ...] if targets are numbers."""
        return torch.from_numpy(self.dataset.train.labels)

    def directions(self, surface: str, model: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return delta^ and eta^ of a surface, by parameter name: recomputed from seeds, or read if they are stored."""
        drawn: DrawnSurface = self._wanted(surface, self._surfaces, "surface")
        module = self.model(model)
        layout, pair = layout_of(module), self.direction_pair(drawn, model, module)
        delta, eta = (
            {name: torch.from_numpy(part) for name, part in split_theta(vector, layout=layout).items()}
            for vector in (pair.delta, pair.eta)
        )
        return delta, eta

    def direction_pair(self, drawn: DrawnSurface, model: str, module: nn.Module) -> DirectionPair:
        """Return the directions of a surface as vectors [n], with their hashes and norms."""
        return direction_pair(self.folder, drawn, model, module)

    @cached_property
    def dataset(self) -> Dataset:
        """Return the data of the spec. They are loaded again, and compared with the run's fingerprint.

        Raises:
            DamagedError: these are not the data of the run.
        """
        dataset = self._loaded
        recorded = self._recorded_data().get("fingerprint")
        if dataset.fingerprint != recorded:
            raise DamagedError(
                f"the data are not those of the run: fingerprint {dataset.fingerprint[:16]}, expected {str(recorded)[:16]}"
            )
        return dataset

    @property
    def labels_of_classes(self) -> tuple[str, ...]:
        """The old name of `class_names`; it will be removed in the next release."""
        warnings.warn("labels_of_classes is now class_names", DeprecationWarning, stacklevel=2)
        return self.class_names

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes; empty if targets are numbers."""
        classes = self._recorded_data().get("classes")
        if not isinstance(classes, list) or (not classes and isinstance(self.spec.data, DataSpec)):
            raise DamagedError("provenance.json: expected the classes of the data, found none")
        return tuple(str(name) for name in classes)

    def _recorded_data(self) -> Mapping[str, Any]:
        data = self.provenance.get("data")
        if not isinstance(data, dict):
            raise DamagedError("provenance.json: data: expected an object that describes the data, found none")
        return data

    def _json(self, relative: str) -> Any:
        document = read_json(safe_path(self.folder, relative), name=relative)
        if not isinstance(document, dict):
            raise DamagedError(f"{relative}: expected an object, found {type(document).__name__}")
        return document

    def _require_theta(self, model: str) -> None:
        """Raise UsageError if the network diverged."""
        minimum = self.minimum(model)
        if minimum.category == "diverged":
            raise UsageError(f"{model} diverged in training, so it has no theta*: {minimum.reason}")

    def _wanted(self, name: str, known: Mapping[str, Any], what: str) -> Any:
        if name not in known:
            raise UsageError(f"this run has no {what} {name!r}; it has {', '.join(known)}")
        return known[name]


def stored_vectors(run: Path, drawn: DrawnSurface, model: str, module: nn.Module) -> Vectors | None:
    """Return the stored directions of a surface; None if they come from seeds.

    Raises:
        DamagedError: the file is missing.
    """
    if drawn.spec.directions.kind == "random":
        return None
    return load_directions(run, drawn.name, model, size=sum(parameter.size for parameter in layout_of(module)))


def direction_pair(run: Path, drawn: DrawnSurface, model: str, module: nn.Module) -> DirectionPair:
    """Return the directions of a surface as vectors [n], with their hashes and norms. `module` is at theta*.

    Raises:
        DamagedError: the directions do not come from seeds, and their file is missing.
    """
    return surface_directions(
        drawn.spec.directions,
        seeds=drawn.seeds,
        vectors=stored_vectors(run, drawn, model, module),
        theta=theta_of(module),
        layout=layout_of(module),
    )
