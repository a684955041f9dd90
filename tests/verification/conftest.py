"""What the tests of verification share: small real runs with a reference, and a forger who covers the tracks.

The runs are made once; a test that changes one takes a copy.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tmrepro
from tests.verification.forger import Forger
from tmrepro.api import build_reference

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
def forger(run: Path) -> Forger:
    """A forger at work on `run`."""
    return Forger(run)


@pytest.fixture
def single(whole_run: Path, tmp_path: Path) -> Path:
    """A reference of one run, without bands."""
    build_reference(whole_run / "spec.yaml", to=tmp_path / "single", runs=_linked(whole_run, tmp_path))
    return tmp_path / "single"


def _linked(run: Path, folder: Path) -> Path:
    """A folder of runs whose first is a copy of `run`, so that nothing is run again."""
    shutil.copytree(run, folder / "runs" / "0")
    return folder / "runs"
