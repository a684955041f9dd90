"""Level rerun: the whole spec again, in a fresh folder; then bit against bit."""

from __future__ import annotations

from pathlib import Path

import pytest

import tmrepro
from tests.support.runs import seal
from tests.verification.checks import failures
from tests.verification.forger import Forger
from tmrepro.errors import ComputeError
from tmrepro.spec import dump_spec, load_spec, spec_hash


@pytest.mark.slow
def test_a_spec_is_run_again_and_passes_against_its_reference(spec_file: Path, whole_reference: Path) -> None:
    verdict = tmrepro.verify(spec_file, reference=whole_reference)
    assert (verdict.grade, verdict.exit_code, verdict.level) == ("identical", 0, "rerun")
    assert {check.level for check in verdict.checks} == {"integrity", "statistics", "audit", "rerun"}
    assert not verdict.warnings


@pytest.mark.slow
def test_a_run_is_run_again_and_is_the_same_to_the_bit(whole_run: Path) -> None:
    verdict = tmrepro.verify(whole_run, level="rerun")
    assert (verdict.grade, verdict.exit_code) == ("identical", 0)
    subjects = {check.subject for check in verdict.checks if check.level == "rerun"}
    assert {"models/dnn/theta.safetensors", "surface paper/cnn", "figures/paper.png"} <= subjects


@pytest.fixture
def impostor(spec_file: Path, tmp_path: Path) -> Path:
    """A run trained with another seed that says it is the run of the spec; all of it follows from its own weights."""
    text = spec_file.read_text(encoding="utf-8").replace("warmup_steps: 3", "warmup_steps: 3, seed: 8")
    (tmp_path / "other.yaml").write_text(text, encoding="utf-8")
    run = tmrepro.run(tmp_path / "other.yaml", out=tmp_path / "impostor").run
    spec = load_spec(spec_file)
    (run / "spec.yaml").write_text(dump_spec(spec), encoding="utf-8")
    forger = Forger(run)
    forger.json("provenance.json", lambda document: document.update(spec_hash=spec_hash(spec)))
    for model in ("dnn", "cnn"):
        forger.minimum(model, seed=0)
    forger.seal()
    return run


@pytest.mark.slow
def test_a_model_forged_with_everything_that_follows_from_it_is_found_by_running_again(
    impostor: Path, whole_reference: Path
) -> None:
    assert tmrepro.verify(impostor, level="audit").exit_code == 0
    verdict = tmrepro.verify(impostor, level="rerun")
    assert verdict.exit_code == 1
    found = failures(verdict)
    assert {level for level, _ in found.values()} == {"rerun"}
    assert found["models/dnn/theta.safetensors"] == ("rerun", "different")
    assert {"models/dnn", "surface paper/dnn", "statistics paper/cnn"} <= set(found)
    # Where there is a reference, comparing with it is enough.
    assert tmrepro.verify(impostor, level="statistics", reference=whole_reference).exit_code == 1


def test_a_rerun_that_cannot_be_done_is_no_verdict(spec_file: Path, reference: Path) -> None:
    text = spec_file.read_text(encoding="utf-8").replace(
        "warmup_steps: 3", "warmup_steps: 0, optimizer: {name: sgd, lr: 1.0e+30}"
    )
    spec_file = reference.parent / "diverges.yaml"
    spec_file.write_text(text, encoding="utf-8")
    (reference / "spec.yaml").write_text(dump_spec(load_spec(spec_file)), encoding="utf-8")
    seal(reference)
    with pytest.raises(ComputeError) as caught:
        tmrepro.verify(spec_file, reference=reference)
    assert caught.value.exit_code == 4


@pytest.mark.slow
def test_another_seed_is_run_and_agrees_within_the_bands(
    spec_file: Path, whole_reference: Path, tmp_path: Path
) -> None:
    text = spec_file.read_text(encoding="utf-8").replace("warmup_steps: 3", "warmup_steps: 3, seed: 77")
    (tmp_path / "seed77.yaml").write_text(text, encoding="utf-8")
    verdict = tmrepro.verify(tmp_path / "seed77.yaml", reference=whole_reference, replicate=True)
    assert verdict.exit_code == 0
    assert verdict.grade == "consistent"
