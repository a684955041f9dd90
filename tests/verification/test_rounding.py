"""A precision below float32: its error is measured, written down, and believed within reason."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tmrepro
from tests.verification.forger import Forger
from tmrepro.reporting.progress import Silent
from tmrepro.spec import SurfaceSpec
from tmrepro.surface.precision import FLOOR, SAMPLED_POINTS
from tmrepro.verification.grades import ABSOLUTE, RELATIVE
from tmrepro.verification.level_audit import check_audit
from tmrepro.verification.platforms import Platforms
from tmrepro.verification.rounding import LARGEST, Rounding, rounding_between

HERE, ELSEWHERE = Platforms(()), Platforms(("processor another",))
STAGE = "surface/low/dnn"
SPEC = """
version: 1
name: low
data: {name: digits, train: 60, validation: 30, size: 8}
models: [{name: dnn, kind: dnn, widths: [8, 10]}]
training: {batch_size: 20, max_epochs: 20, warmup_steps: 3, stop: {at: never}}
surfaces:
  - {name: low, grid: {K: 5}, precision: bfloat16}
  - {name: full, grid: {K: 5}}
compute: {threads: 1}
"""


def provenance(error: object) -> dict[str, Any]:
    return {"stages": {STAGE: {"facts": {"precision_error": error}}}}


def surface(precision: str) -> SurfaceSpec:
    return SurfaceSpec.model_validate({"name": "low", "grid": {"K": 5}, "precision": precision})


def test_both_sides_errors_are_added() -> None:
    ours, theirs = provenance({"loss": 0.01, "accuracy": 0.002}), provenance({"loss": 0.02, "accuracy": 0.003})
    found = rounding_between(ours, theirs, surface=surface("bfloat16"), stage=STAGE)
    numbers = found.relative, found.absolute, found.accuracy
    assert numbers == pytest.approx((0.03, ABSOLUTE + 0.03 * FLOOR, 0.005))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_nothing_is_believed_of_a_precision_that_needs_none(precision: str) -> None:
    claim = provenance({"loss": 0.04, "accuracy": 0.04})
    assert rounding_between(claim, claim, surface=surface(precision), stage=STAGE) == Rounding()


@pytest.mark.parametrize(
    "claim",
    [
        {}, [], None, "much", {"loss": "0.1"}, {"loss": math.nan}, {"loss": -1}, {"loss": True}, {"loss": [1]},
    ],
)  # fmt: skip
def test_what_is_no_error_is_none(claim: object) -> None:
    assert rounding_between(provenance(claim), {}, surface=surface("tf32"), stage=STAGE) == Rounding()


@pytest.mark.parametrize("claim", [1, 10**400, math.inf])
def test_a_large_error_is_not_believed(claim: float) -> None:
    found = rounding_between(provenance({"loss": claim}), {}, surface=surface("tf32"), stage=STAGE)
    assert found.relative <= max(LARGEST, RELATIVE)


@pytest.fixture(scope="module")
def low_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("low")
    (folder / "low.yaml").write_text(SPEC, encoding="utf-8")
    tmrepro.run(folder / "low.yaml", out=folder / "run", reporter=Silent())
    return folder / "run"


def stage_facts(run: Path, name: str) -> dict[str, Any]:
    facts: dict[str, Any] = tmrepro.open_run(run).provenance["stages"][name]["facts"]
    return facts


def test_the_run_writes_down_what_its_precision_costs(low_run: Path) -> None:
    error = stage_facts(low_run, STAGE)["precision_error"]
    assert error["points"] == SAMPLED_POINTS
    low, full = (tmrepro.open_run(low_run).surface(name, "dnn") for name in ("low", "full"))
    everywhere = np.abs(low.loss - full.loss).to_numpy() / (full.loss.to_numpy() + FLOOR)
    assert 1e-4 < error["loss"] <= everywhere.max() + 1e-5  # the other surface is of another evaluator
    assert np.count_nonzero(everywhere <= error["loss"] + 1e-5) >= SAMPLED_POINTS
    assert "precision_error" not in stage_facts(low_run, "surface/full/dnn")


def test_how_many_images_and_points_go_together_is_written_down(low_run: Path) -> None:
    low = stage_facts(low_run, STAGE)
    assert (low["evaluator"], low["evaluator_blocks"]) == ("batched", {"images": 2**20, "points": 16})
    assert stage_facts(low_run, "surface/full/dnn")["evaluator_blocks"] == {"images": 512, "points": 256}


@pytest.mark.parametrize(("share", "passes"), [(0.0, True), (0.9, True), (3.5, False)])
def test_elsewhere_twice_the_error_passes_and_no_more(
    low_run: Path, tmp_path: Path, share: float, passes: bool
) -> None:
    error = stage_facts(low_run, STAGE)["precision_error"]["loss"]
    run = Path(shutil.copytree(low_run, tmp_path / "run"))
    forger = Forger(run)
    forger.surface("low", "dnn", lambda loss, _: np.add(loss, share * error * (loss + FLOOR), out=loss), chunk=5)
    forger.remeasure()  # as the other platform would have
    forger.restate()
    forger.seal()
    for platforms, expected in ((ELSEWHERE, passes), (HERE, share == 0)):
        checks, _ = check_audit(
            tmrepro.open_run(run), share=1.0, seed=0, device=torch.device("cpu"), platforms=platforms, reporter=Silent()
        )
        (found,) = [check.passed for check in checks if check.subject == "surfaces.zarr/low/dnn"]
        assert found is expected
