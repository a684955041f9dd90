"""A small run with all that a path of training and stored directions can have."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tmrepro

SPEC = """
version: 1
name: paths
data: {name: digits, train: 60, validation: 20, size: 8}
models:
  - {name: dnn, kind: dnn, widths: [8, 10]}
  - {name: one, kind: dnn, widths: [8, 10], training: {seed: 1}}
  - {name: two, kind: dnn, widths: [8, 10], training: {seed: 2, trajectory: null}}
training: {batch_size: 20, warmup_steps: 2, max_epochs: 7, stop: {at: never}, trajectory: {every: 2, weights: true}}
surfaces:
  - {name: random, models: [dnn], grid: {K: 3, step: 0.5}}
  - {name: pca, models: [dnn], directions: {kind: pca}, grid: {K: 5, origin: center, step: 1.5}}
  - {name: hessian, models: [dnn], directions: {kind: hessian}, grid: {K: 3, origin: center, step: 1.0e-5}, precision: float64}
  - {name: raw, directions: {between: [one, two], normalization: none}, grid: {K: 2, step: 1.0}, precision: float64}
  - {name: straight, directions: {kind: between, between: [one, two]}, grid: {K: 5, origin: center, step: 4.0}}
compute: {threads: 1}
"""


@pytest.fixture(scope="session")
def spec_text() -> str:
    return SPEC


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of SPEC that nobody may change."""
    folder = tmp_path_factory.mktemp("paths")
    (folder / "paths.yaml").write_text(SPEC, encoding="utf-8")
    return tmrepro.run(folder / "paths.yaml", out=folder / "run").run


@pytest.fixture
def run(whole_run: Path, tmp_path: Path) -> Path:
    """A copy of `whole_run`."""
    return Path(shutil.copytree(whole_run, tmp_path / "run"))
