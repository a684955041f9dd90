"""What the tests of the verdict's outputs share: real verdicts of every grade, on a run that takes seconds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import tmrepro
from tests.support.runs import forge_json
from tests.support.specs import write_spec
from tmrepro.api import build_reference
from tmrepro.verification import Verdict

SPEC = """
version: 1
name: tiny
data: {name: digits, train: 40, validation: 20, size: 8}
models:
  - {name: dnn, kind: dnn, widths: [8, 10]}
training: {batch_size: 20, max_epochs: 6, warmup_steps: 2, stop: {at: never}}
surfaces:
  - {name: middle, grid: {K: 3, origin: center, step: 0.5}}
"""
REPLICATES = 2


@pytest.fixture(scope="session")
def spec_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spec(tmp_path_factory.mktemp("spec"), SPEC)


@pytest.fixture(scope="session")
def made(spec_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `runs/0`, `runs/1`, ... and the `reference` that was built from them."""
    home = tmp_path_factory.mktemp("made")
    build_reference(spec_file, to=home / "reference", replicates=REPLICATES, runs=home / "runs")
    return home


@pytest.fixture(scope="session")
def verdicts(made: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """A verdict of every grade, each of a real run held against a real reference."""
    home, run = tmp_path_factory.mktemp("verdicts"), made / "runs" / "0"
    equal, different, damaged = (home / name / "tiny" for name in ("equal", "different", "damaged"))
    shutil.copytree(made / "reference", equal)
    forge_json(equal, "statistics.json", lambda all_of: _scale(all_of, "loss_max", 1 + 1e-6))
    forge_json(equal, "provenance.json", lambda document: document["packages"].update(torch="1.0"))
    shutil.copytree(made / "reference", different)
    forge_json(different, "statistics.json", lambda all_of: _scale(all_of, "loss_mean", 2.0))
    for name in ("figures", "surfaces.zarr"):
        shutil.rmtree(different / name)
        shutil.copytree(made / "runs" / "1" / name, different / name, ignore=shutil.ignore_patterns("*.pdf"))
    forge_json(different, "provenance.json", lambda document: document["packages"].update(matplotlib="1.0"))
    shutil.copytree(run, damaged)
    (damaged / "statistics.json").write_bytes(b"{}")
    (damaged / "<b>not of a run<img>.txt").write_bytes(b"")

    def held(target: Path, **how: Any) -> Verdict:
        return tmrepro.verify(target, **{"level": "statistics", "reference": made / "reference", **how})

    return {
        "identical": held(run),
        "equal": held(run, reference=equal),
        "consistent": held(made / "runs" / "1", replicate=True),
        "different": held(run, reference=different),
        "damaged": held(damaged),
        "alone": held(run, reference=None, level="audit", seed=5),
        "integrity": held(run, reference=None, level="integrity"),
        "other spec": held(made / "runs" / "1"),
    }


def _scale(statistics: Any, name: str, factor: float) -> None:
    statistics["middle"]["dnn"][name] *= factor
