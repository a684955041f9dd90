"""A small run with a path of training and marked points, and a reference with losses that are not finite."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import tmrepro
from tests.support.runs import seal
from tmrepro.spec.shipped import shipped_reference
from tmrepro.store.atomic import WORK
from tmrepro.store.surfaces import open_surface, read_surface

SPEC = """
version: 1
name: eye
data: {name: digits, train: 60, validation: 20, size: 8}
models:
  - {name: one, kind: dnn, widths: [8, 10], training: {trajectory: {every: 2}}}
  - {name: two, kind: dnn, widths: [8, 10], training: {seed: 3}}
  - {name: three, kind: dnn, widths: [8, 10], training: {seed: 5}}
training: {batch_size: 20, warmup_steps: 2, max_epochs: 6, stop: {at: never}}
replicates: {training: 2}
surfaces:
  - {name: plain, models: [one], grid: {K: 4, step: 0.5}}
  - {name: between, models: [one], directions: {kind: between, between: [two, three]}, grid: {K: 5, origin: center, step: 4.0}}
compute: {threads: 1}
"""


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of SPEC that nobody may change."""
    folder = tmp_path_factory.mktemp("eye")
    (folder / "eye.yaml").write_text(SPEC, encoding="utf-8")
    return tmrepro.run(folder / "eye.yaml", out=folder / "run").run


@pytest.fixture(scope="session")
def odd_reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart's reference, with a nan, an inf and a loss of 0 in surface filter of the cnn."""
    folder = tmp_path_factory.mktemp("odd") / "reference"
    shutil.copytree(shipped_reference("quickstart"), folder)
    values = read_surface(folder, "filter", "cnn")[0]
    loss = values.loss.copy()
    loss[0, 1], loss[2, 0], loss[10, 3] = np.nan, np.inf, 0.0
    open_surface(folder, "filter", "cnn").write((0, 0), loss, values.accuracy)
    shutil.rmtree(folder / WORK)
    seal(folder)
    return folder
