"""What the tests of verification share: small real runs with a reference, and a forger who covers the tracks.

The runs are made once; a test that changes one takes a copy.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tmrepro
from tmrepro.api import build_reference
from tmrepro.reporting.progress import Silent
from tmrepro.runner.drawings import draw_figures
from tmrepro.runner.outputs import statistics_of
from tmrepro.runner.planes import depths_of
from tmrepro.runner.planning import lattice_of, surface_problem
from tmrepro.spec import expand_models, expand_surfaces
from tmrepro.store.manifest import file_hashes, write_manifest
from tmrepro.store.run_files import MANIFEST
from tmrepro.store.surfaces import chunk_slices, consolidate, open_surface, read_surface
from tmrepro.store.tensors import load_labels, load_tensors, save_labels, save_tensors
from tmrepro.surface import PlainEvaluator
from tmrepro.surface.measured import ErrorMeter
from tmrepro.verification import Check, Verdict
from tmrepro.verification.comparison import Comparison, Side
from tmrepro.verification.level_audit import check_audit
from tmrepro.verification.platforms import Platforms
from tmrepro.verification.reference import Reference

# One thread: with networks so small a second one gains nothing, and on a busy machine is long waited for.
SPEC = """
version: 1
name: tiny
data: {name: digits, train: 60, validation: 30, size: 8}
models:
  - {name: dnn, kind: dnn, widths: [8, 10]}
  - {name: cnn, kind: cnn, channels: [4, 10]}
training: {batch_size: 20, max_epochs: 60, warmup_steps: 3, stop: {at: gm, epsilon: 0.3}}
surfaces:
  - {name: paper, grid: {K: 5, step: 1.0}, chunk: 3}
compute: {threads: 1}
"""
K, CHUNK = 5, 3
HERE = Platforms(())

# Much that the other runs leave out, in one: soft labels, replicates of both kinds, a middle, filters, a part of the images,
# points where the loss is not finite, a clipped loss.
VARIED_SPEC = """
version: 1
name: varied
data: {name: digits, train: 50, validation: 20, size: 8, scaling: unit}
models:
  - {name: dnn, kind: dnn, widths: [6, 10], training: {clip_probability: 1e-7}}
training: {batch_size: 20, max_epochs: 6, warmup_steps: 0, stop: {at: never, patience: 2}}
minimum: {labels: soft}
replicates: {training: 2, directions: 2}
surfaces:
  - {name: far, directions: {normalization: filter}, grid: {K: 3, origin: center, step: 1.0e+38}, samples: 7}
compute: {threads: 1}
"""


class Forger:
    """Changes a run folder and, with `seal`, everything in it that would tell."""

    def __init__(self, run: Path, work: Path) -> None:
        self.run, self._work = run, work

    def json(self, relative: str, change: Callable[[Any], Any]) -> None:
        """Rewrite a JSON file as what `change` makes of its content (in place, or by what it returns)."""
        path = self.run / relative
        document = json.loads(path.read_text(encoding="utf-8"))
        changed = change(document)
        path.write_text(json.dumps(document if changed is None else changed, indent=2) + "\n", encoding="utf-8")

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
            write=lambda path, data: _write(path, data),
        )

    def seal(self, *, records: bool = True) -> None:
        """A manifest that holds; with `records`, stage records in provenance.json that hold, too."""
        if records and (self.run / "provenance.json").exists():

            def rehash(document: Any) -> None:
                for stage in document["stages"].values():
                    there = [path for path in stage["files"] if (self.run / path).is_file()]
                    stage["files"] = file_hashes(self.run, there)

            self.json("provenance.json", rehash)
        (self.run / MANIFEST).unlink(missing_ok=True)
        write_manifest(self.run, work=self._work)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds tiny.yaml, its runs `runs/0` to `runs/2` with other seeds each, and its reference with bands."""
    folder = tmp_path_factory.mktemp("verify")
    (folder / "tiny.yaml").write_text(SPEC, encoding="utf-8")
    build_reference(folder / "tiny.yaml", to=folder / "reference", runs=folder / "runs", replicates=3)
    return folder


@pytest.fixture(scope="session")
def spec_file(home: Path) -> Path:
    return home / "tiny.yaml"


@pytest.fixture(scope="session")
def whole_run(home: Path) -> Path:
    """A finished run that nobody may change."""
    return home / "runs" / "0"


@pytest.fixture(scope="session")
def whole_reference(home: Path) -> Path:
    """The reference of `whole_run` that nobody may change; its bands come from three replicates."""
    return home / "reference"


@pytest.fixture(scope="session")
def varied_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of VARIED_SPEC that nobody may change."""
    folder = tmp_path_factory.mktemp("varied")
    (folder / "varied.yaml").write_text(VARIED_SPEC, encoding="utf-8")
    return tmrepro.run(folder / "varied.yaml", out=folder / "run").run


@pytest.fixture
def run(whole_run: Path, tmp_path: Path) -> Path:
    """A copy of `whole_run`."""
    return Path(shutil.copytree(whole_run, tmp_path / "run"))


@pytest.fixture
def reference(whole_reference: Path, tmp_path: Path) -> Path:
    """A copy of `whole_reference`."""
    return Path(shutil.copytree(whole_reference, tmp_path / "reference"))


@pytest.fixture
def forger(run: Path, tmp_path: Path) -> Forger:
    """A forger at work on `run`."""
    return Forger(run, tmp_path / "work")


@pytest.fixture
def forger_of(tmp_path: Path) -> Callable[[Path], Forger]:
    """A forger at work on any folder."""
    return lambda folder: Forger(folder, tmp_path / "work")


@pytest.fixture
def failures() -> Callable[[Verdict], dict[str, tuple[str, str]]]:
    """What did not pass in a verdict: subject -> (level, grade)."""

    def find(verdict: Verdict) -> dict[str, tuple[str, str]]:
        return {check.subject: (check.level, check.grade) for check in verdict.checks if not check.passed}

    return find


@pytest.fixture
def audit() -> Callable[..., list[Check]]:
    """The audit alone, of all points: the checks that do not pass."""

    def check(run: Path, *, share: float = 1.0, seed: int = 0, platforms: Platforms = HERE) -> list[Check]:
        view = tmrepro.open_run(run)
        checks, _ = check_audit(
            view, share=share, seed=seed, device=torch.device("cpu"), platforms=platforms, reporter=Silent()
        )
        return [check for check in checks if not check.passed]

    return check


@pytest.fixture
def single(whole_run: Path, tmp_path: Path) -> Path:
    """A reference of one run, without bands."""
    build_reference(whole_run / "spec.yaml", to=tmp_path / "single", runs=_linked(whole_run, tmp_path))
    return tmp_path / "single"


def _linked(run: Path, folder: Path) -> Path:
    """A folder of runs whose first is a copy of `run`, so that nothing is run again."""
    shutil.copytree(run, folder / "runs" / "0")
    return folder / "runs"


@pytest.fixture
def compare() -> Callable[..., tuple[dict[str, Check], Comparison]]:
    """A run against a reference, without the run's own integrity: subject -> check."""

    def held(run: Path, reference: Path, *, replicate: bool = False) -> tuple[dict[str, Check], Comparison]:
        found = Reference(reference)
        side = Side(found.folder, found.statistics, found.provenance, found.bands, "reference")
        comparison = Comparison(tmrepro.open_run(run), side, level="statistics", replicate=replicate)
        return {check.subject: check for check in comparison.checks()}, comparison

    return held
