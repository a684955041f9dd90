"""A run held against a reference: the same, the same but for rounding, inside the bands, or different."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tmrepro
from tests.support.runs import seal
from tests.verification.checks import compare
from tests.verification.forger import Forger
from tmrepro.errors import ArtefactError, DamagedError
from tmrepro.verification import Verdict
from tmrepro.verification.reference import Reference


def test_a_run_is_identical_to_its_reference(whole_run: Path, whole_reference: Path) -> None:
    verdict = tmrepro.verify(whole_run, level="statistics", reference=whole_reference)
    assert (verdict.grade, verdict.exit_code) == ("identical", 0)
    assert not verdict.warnings
    subjects = {check.subject for check in verdict.checks}
    assert {
        "data",
        "models/dnn",
        "surface paper/cnn",
        "statistics paper/cnn",
        "figures/training.curves.png",
    } <= subjects


def test_a_reference_holds_no_weights_and_one_kind_of_picture(whole_reference: Path) -> None:
    files = {path.relative_to(whole_reference).as_posix() for path in whole_reference.rglob("*") if path.is_file()}
    names = {Path(file).name for file in files}
    assert {"spec.yaml", "statistics.json", "bands.json", "provenance.json", "manifest-sha256.txt"} <= names
    assert not {"theta.safetensors", "labels.npy", "report.html"} & names
    assert {Path(file).suffix for file in files if file.startswith("figures/")} == {".png"}
    assert not [path for path in whole_reference.parent.iterdir() if path.name.startswith(".reference")]


def test_the_bands_of_a_reference_are_those_of_its_replicates(home: Path, whole_reference: Path) -> None:
    values = [
        json.loads((home / "runs" / str(n) / "statistics.json").read_text(encoding="utf-8"))["paper"]["cnn"][
            "roughness"
        ]
        for n in range(3)
    ]
    bands = Reference(whole_reference).bands
    band = bands.of_statistic("paper", "cnn", "roughness")
    assert band is not None
    assert (band.n, band.mean, band.deviation) == (
        3,
        pytest.approx(np.mean(np.log(values))),
        pytest.approx(np.std(np.log(values), ddof=1)),
    )
    counted = sum(len(names) for models in bands.statistics.values() for names in models.values())
    assert bands.comparisons == counted + sum(len(names) for names in bands.minima.values())
    assert sum(bands.categories["dnn"].values()) == 3


@pytest.mark.parametrize("relative", ["bands.json", "statistics.json", "figures/paper.png", "spec.yaml"])
def test_a_damaged_reference_ends_everything_before_it_is_believed(
    whole_run: Path, spec_file: Path, reference: Path, relative: str
) -> None:
    data = bytearray((reference / relative).read_bytes())
    data[len(data) // 2] ^= 1
    (reference / relative).write_bytes(data)
    for target in (whole_run, spec_file):
        verdict = tmrepro.verify(target, reference=reference)
        assert verdict.exit_code == 3
        assert [check.subject for check in verdict.checks] == [f"reference reference/{relative}"]


@pytest.mark.parametrize("relative", ["bands.json", "statistics.json", "spec.yaml", "provenance.json"])
@pytest.mark.parametrize("content", ["{", "[]", '{"paper": 5}'])
def test_a_reference_that_is_none_is_damage_under_a_manifest_that_holds(
    whole_run: Path, reference: Path, relative: str, content: str
) -> None:
    (reference / relative).write_text(content, encoding="utf-8")
    seal(reference)
    if (relative, content) == ("provenance.json", '{"paper": 5}'):
        assert tmrepro.verify(whole_run, level="statistics", reference=reference).exit_code == 1
        return
    with pytest.raises(DamagedError, match=relative):
        tmrepro.verify(whole_run, level="statistics", reference=reference)


def test_a_missing_reference_is_a_missing_artefact_with_a_remedy(
    whole_run: Path, spec_file: Path, tmp_path: Path
) -> None:
    for target, options in (
        (spec_file, {}),
        (spec_file, {"reference": tmp_path / "no"}),
        (whole_run, {"reference": tmp_path}),
        (whole_run, {"replicate": True}),
    ):
        with pytest.raises(ArtefactError, match="tmrepro reference build SPEC --to") as caught:
            tmrepro.verify(target, **options)
        assert caught.value.exit_code == 3


def test_a_spec_with_another_seed_is_a_difference_that_names_it(
    spec_file: Path, whole_reference: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(
        spec_file.read_text(encoding="utf-8").replace("warmup_steps: 3", "warmup_steps: 3, seed: 5"), encoding="utf-8"
    )
    verdict = tmrepro.verify(other, reference=whole_reference)
    assert verdict.exit_code == 1
    (check,) = verdict.checks
    assert (check.level, check.subject, check.grade) == ("rerun", "spec.yaml", "different")
    assert "training.seed: 5 here, 0 there" in check.detail
    assert "nothing was run" in verdict.notes[0]


def test_a_run_of_another_spec_is_a_difference_that_names_the_field(home: Path, whole_reference: Path) -> None:
    verdict = tmrepro.verify(home / "runs" / "1", level="statistics", reference=whole_reference)
    assert verdict.exit_code == 1
    assert [(check.subject, check.grade) for check in verdict.checks if not check.passed] == [
        ("spec.yaml", "different")
    ]


def test_a_changed_history_is_a_difference_though_the_minimum_is_not(forger: Forger, whole_reference: Path) -> None:
    path = forger.run / "models/cnn/history.csv"
    rows = path.read_text(encoding="utf-8").splitlines()
    cells = rows[2].split(",")
    rows[2] = ",".join([cells[0], "1.5", *cells[2:]])
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    checks, _ = compare(forger.run, whole_reference)
    assert checks["models/cnn"].grade == "different"
    assert "history.csv train_loss: largest difference at (1): 1.5" in checks["models/cnn"].detail


def test_seconds_are_nobodys_business(forger: Forger, whole_reference: Path) -> None:
    forger.minimum("cnn", training_seconds=1e6, lm_first_seconds=None)
    assert compare(forger.run, whole_reference)[0]["models/cnn"].grade == "identical"


def test_other_data_are_a_difference(
    whole_run: Path,
    reference: Path,
) -> None:
    forger = Forger(reference)
    forger.json("provenance.json", lambda document: document["data"].update(fingerprint="0" * 64))
    forger.seal(records=False)
    assert compare(whole_run, reference)[0]["data"].grade == "different"


def test_a_swapped_figure_of_the_reference_is_a_difference(
    whole_run: Path,
    reference: Path,
) -> None:
    shutil.copy(reference / "figures/paper.shared.png", reference / "figures/paper.png")
    (reference / "figures/training.curves.png").rename(reference / "figures/more.png")
    seal(reference)
    checks, _ = compare(whole_run, reference)
    found = {subject: check.grade for subject, check in checks.items() if check.grade != "identical"}
    assert found == {
        "figures/paper.png": "different",
        "figures/training.curves.png": "damaged",
        "figures/more.png": "damaged",
    }


def test_another_seed_agrees_within_the_bands(home: Path, whole_reference: Path) -> None:
    verdict = tmrepro.verify(home / "runs" / "2", level="statistics", reference=whole_reference, replicate=True)
    assert verdict.exit_code == 0
    assert verdict.grade == "consistent"
    assert any("another seed" in note for note in verdict.notes)
    # Three replicates measure little.
    assert any("bands that are too wide to find an error" in warning for warning in verdict.warnings)
    assert any("of these bands are too wide to find an error" in check.detail for check in verdict.checks)
    assert not any("NOT bitwise identical" in warning for warning in verdict.warnings)
    assert "consistent" in {
        check.grade for check in compare(home / "runs" / "2", whole_reference, replicate=True)[0].values()
    }


def test_another_seed_that_lies_outside_is_different(home: Path, reference: Path) -> None:
    def narrow(document: Any) -> None:
        document["statistics"]["paper"]["dnn"]["loss_mean"].update(low=1e-9, high=2e-9)

    forger = Forger(reference)
    forger.json("bands.json", narrow)
    forger.seal(records=False)
    verdict = tmrepro.verify(home / "runs" / "2", level="statistics", reference=reference, replicate=True)
    assert verdict.exit_code == 1
    assert [check.subject for check in verdict.checks if not check.passed] == ["statistics paper/dnn"]


def test_a_replicate_may_differ_in_seeds_only(spec_file: Path, reference: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(spec_file.read_text(encoding="utf-8").replace("K: 5", "K: 6"), encoding="utf-8")
    verdict = tmrepro.verify(other, reference=reference, replicate=True)
    assert verdict.exit_code == 1
    assert "surfaces[0].grid.K: 6 here, 5 there" in verdict.checks[0].detail


def test_a_verdict_against_a_reference_names_it(whole_run: Path, whole_reference: Path) -> None:
    verdict: Verdict = tmrepro.verify(whole_run, level="integrity", reference=whole_reference)
    assert verdict.reference == "reference"
    assert {check.level for check in verdict.checks} == {"integrity"}
