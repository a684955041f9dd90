"""Forges run folders and references, and covers the tracks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tmrepro
from tests.support.runs import edit_json, seal
from tmrepro.runner.drawings import draw_figures
from tmrepro.runner.outputs import statistics_of
from tmrepro.runner.planes import depths_of
from tmrepro.runner.planning import lattice_of, surface_problem
from tmrepro.spec import expand_models, expand_surfaces
from tmrepro.store.surfaces import chunk_slices, consolidate, open_surface, read_surface
from tmrepro.store.tensors import load_labels, load_tensors, save_labels, save_tensors
from tmrepro.surface import PlainEvaluator
from tmrepro.surface.measured import ErrorMeter

CHUNK = 3


class Forger:
    """Changes a run folder and, with `seal`, everything in it that would tell."""

    def __init__(self, run: Path) -> None:
        self.run, self._work = run, run.parent / "work"

    def json(self, relative: str, change: Callable[[Any], Any]) -> None:
        """Rewrite a JSON file as what `change` makes of its content (in place, or by what it returns)."""
        edit_json(self.run / relative, change)

    def minimum(self, model: str, /, **values: Any) -> None:
        self.json(f"models/{model}/minimum.json", lambda document: document.update(values))

    def surface(
        self, surface: str, model: str, change: Callable[[np.ndarray, np.ndarray], None], *, chunk: int = CHUNK
    ) -> None:
        """Change loss and accuracy of a surface in place; checksums and metadata stay valid."""
        values = read_surface(self.run, surface, model)[0]
        loss, accuracy = values.loss.copy(), values.accuracy.copy()
        change(loss, accuracy)
        for index, rows, columns in chunk_slices(len(values.a), chunk):
            open_surface(self.run, surface, model).write(index, loss[rows, columns], accuracy[rows, columns])
        shutil.rmtree(self.run / ".work", ignore_errors=True)

    def weights(self, model: str, change: Callable[[dict[str, np.ndarray]], None]) -> None:
        path = self.run / "models" / model / "theta.safetensors"
        tensors = load_tensors(path)
        change(tensors)
        save_tensors(path, tensors, work=self._work)

    def labels(self, model: str, change: Callable[[np.ndarray], Any]) -> None:
        path = self.run / "models" / model / "labels.npy"
        labels = load_labels(path)
        changed = change(labels)
        save_labels(path, labels if changed is None else changed, work=self._work)

    def error(self, surface: str, model: str, /, **values: Any) -> None:
        """Change the measured error that a surface carries, and the copy of it that xarray reads."""
        key = f"surfaces.zarr/{surface}/{model}/zarr.json"
        self.json(key, lambda document: document["attributes"].update(values))
        consolidate(self.run)
        shutil.rmtree(self.run / ".work", ignore_errors=True)

    def remeasure(self) -> None:
        """Errors that follow from the surfaces as they are now: none has more images than are measured."""
        view = tmrepro.open_run(self.run)
        drawn = {drawn.name: drawn for drawn in expand_surfaces(view.spec)}
        for surface, model in view.surfaces:
            spec = drawn[surface].spec
            problem, grid, _ = surface_problem(
                view.model(model),
                spec,
                seeds=drawn[surface].seeds,
                vectors=None,
                inputs=view.inputs(),
                labels=view.labels(model),
                training=next(each.spec.training for each in expand_models(view.spec) if each.name == model),
            )
            meter = ErrorMeter(problem, lattice_of(grid, chunk=spec.chunk))
            measured = meter.after(PlainEvaluator, read_surface(self.run, surface, model)[0].loss)
            points = [list(point) for point in measured.errors]
            self.error(surface, model, error_over_bound=measured.worst[1], error_points=points)

    def restate(self) -> None:
        """Statistics, planes and figures that follow from the surfaces as they are now."""
        view = tmrepro.open_run(self.run)
        statistics = statistics_of(self.run, view.surfaces)
        (self.run / "statistics.json").write_text(json.dumps(statistics, indent=2) + "\n", encoding="utf-8")
        for model in view.models:
            self.minimum(model, depth_below_minimum=depths_of(statistics, model))
        minima = {name: view.minimum(name) for name in view.models}
        for path in (self.run / "figures").iterdir():
            path.unlink()
        draw_figures(
            self.run,
            spec=view.spec,
            minima=minima,
            folder=self.run / "figures",
            write=lambda path, data: path.write_bytes(data) and None,
        )

    def seal(self, *, records: bool = True) -> None:
        """A manifest that holds; with `records`, stage records in provenance.json that hold, too."""
        seal(self.run, records=records)
