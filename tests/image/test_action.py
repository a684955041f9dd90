"""The composite action's last step, as a runner would start it: a spec of one's own, held against a reference of one's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tmrepro.api import build_reference
from tmrepro.spec import load_spec

ROOT = Path(__file__).parents[2]
SPEC = """
version: 1
name: mine
data: {name: digits, train: 40, validation: 20, size: 8}
models: [{name: dnn, kind: dnn, widths: [8, 10]}]
training: {batch_size: 20, max_epochs: 4, warmup_steps: 0, reseeds: 0, stop: {at: never}}
surfaces: [{name: paper, grid: {K: 4}}]
compute: {threads: 1}
"""

pytestmark = pytest.mark.skipif(not (ROOT / "verify" / "action.yml").exists(), reason="needs a checkout")


@pytest.fixture(scope="module")
def action():
    return YAML(typ="safe").load((ROOT / "verify" / "action.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A repository with a spec and its reference."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "mine.yaml").write_text(SPEC, encoding="utf-8")
    build_reference(load_spec(folder / "mine.yaml"), to=folder / "reference", runs=folder / "runs")
    return folder


def run_step(action, *, folder: Path, runner: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Start the step `Verify` in `folder`, with the action's defaults and `inputs`; `runner` is the runner's folder."""
    (step,) = [step for step in action["runs"]["steps"] if step.get("name") == "Verify"]
    given = {name: value.get("default", "") for name, value in action["inputs"].items()} | inputs
    environment = {
        name: given[text.removeprefix("${{ inputs.").removesuffix(" }}")] for name, text in step["env"].items()
    }
    (runner / "tmrepro").mkdir(parents=True)
    (runner / "tmrepro" / "bin").symlink_to(Path(sys.executable).parent)
    files = {"GITHUB_OUTPUT": str(runner / "output"), "GITHUB_STEP_SUMMARY": str(runner / "summary")}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=folder,
        env=os.environ | environment | files | {"RUNNER_TEMP": str(runner)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_spec_that_still_gives_its_reference_passes(action, published, tmp_path):
    done = run_step(action, folder=published, runner=tmp_path, target="mine.yaml", reference="reference")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "output").read_text() == "grade=identical\n"
    assert "**identical**" in (tmp_path / "summary").read_text()
    assert {path.name for path in (tmp_path / "tmrepro-results").iterdir()} == {
        "verdict.json",
        "verdict.xml",
        "verdict.html",
    }


def test_a_spec_that_gives_something_else_fails(action, published, tmp_path):
    changed = (published / "mine.yaml").read_text().replace("max_epochs: 4", "max_epochs: 3")
    (published / "changed.yaml").write_text(changed, encoding="utf-8")
    done = run_step(action, folder=published, runner=tmp_path, target="changed.yaml", reference="reference")
    assert done.returncode == 1
    assert (tmp_path / "output").read_text() == "grade=different\n"


def test_what_is_not_there_keeps_its_exit_code(action, published, tmp_path):
    done = run_step(action, folder=published, runner=tmp_path, target="missing.yaml")
    assert done.returncode == 3
