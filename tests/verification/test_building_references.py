"""A reference made of runs: what becomes one, what it replaces, and what it is without bands."""

from __future__ import annotations

from pathlib import Path

import pytest

import tmrepro
from tmrepro.api import build_reference
from tmrepro.errors import ArtefactError, DamagedError, UsageError
from tmrepro.reporting.progress import Silent
from tmrepro.spec import load_spec
from tmrepro.spec.seeds import with_seeds
from tmrepro.verification.reference import Reference, write_reference


def test_a_reference_of_one_run_has_no_bands_and_cannot_judge_another_seed(
    home: Path, spec_file: Path, single: Path
) -> None:
    assert not Reference(single).bands.measured
    assert tmrepro.verify(home / "runs" / "0", level="statistics", reference=single).grade == "identical"
    for target in (home / "runs" / "1", spec_file):
        with pytest.raises(ArtefactError, match=r"has no bands.*--replicates") as caught:
            tmrepro.verify(target, reference=single, replicate=True)
        assert caught.value.exit_code == 3


def test_a_reference_replaces_a_reference_and_nothing_else(whole_run: Path, single: Path, tmp_path: Path) -> None:
    (single / "left.over").write_text("x", encoding="utf-8")
    build_reference(whole_run / "spec.yaml", to=single, runs=tmp_path / "runs")
    assert not (single / "left.over").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x", encoding="utf-8")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for target in (tmp_path / "mine", tmp_path / "file"):
        with pytest.raises(UsageError, match="choose"):
            build_reference(whole_run / "spec.yaml", to=target, runs=tmp_path / "never")
    assert not (tmp_path / "never").exists()  # refused before anything was run
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_a_damaged_run_becomes_no_reference(run: Path, tmp_path: Path) -> None:
    (run / "statistics.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DamagedError, match=r"statistics\.json"):
        write_reference(run, to=tmp_path / "new", replicates=[])
    assert not (tmp_path / "new").exists()


def test_no_reference_comes_of_no_run(spec_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        build_reference(spec_file, to=tmp_path / "new", replicates=0)


def test_bands_that_judge_nothing_are_told_when_they_are_measured(home: Path, spec_file: Path, tmp_path: Path) -> None:
    class Listening(Silent):
        def __init__(self) -> None:
            self.notes: list[str] = []

        def note(self, message: str) -> None:
            self.notes.append(message)

    told = Listening()
    build_reference(spec_file, to=tmp_path / "new", runs=home / "runs", replicates=3, reporter=told)
    idle = Reference(tmp_path / "new").bands.judging_nothing()
    assert idle
    assert any(f"{len(idle)} of" in note and "judge nothing" in note and idle[0] in note for note in told.notes)


def test_replicates_are_runs_with_other_seeds(home: Path, spec_file: Path) -> None:
    for replicate in range(3):
        found = load_spec(home / "runs" / str(replicate) / "spec.yaml")
        assert found == with_seeds(load_spec(spec_file), replicate=replicate)


REPLICATED = """
version: 1
name: replicated
data: {name: digits, train: 40, validation: 20, size: 8}
models: [{name: dnn, kind: dnn, widths: [6, 10]}]
training: {batch_size: 20, max_epochs: 5, warmup_steps: 2}
replicates: {training: 3, directions: 2}
surfaces: [{name: paper, grid: {K: 3}}]
compute: {threads: 1}
"""


def test_bands_are_measured_over_the_replicates_that_a_spec_has(tmp_path: Path) -> None:
    (tmp_path / "replicated.yaml").write_text(REPLICATED, encoding="utf-8")
    build_reference(tmp_path / "replicated.yaml", to=tmp_path / "reference", runs=tmp_path / "runs")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["0"]  # nothing is run again
    reference = Reference(tmp_path / "reference")
    bands, statistics = reference.bands, reference.statistics
    assert (bands.n, bands.measured) == (3, True)
    names = ("dnn", "dnn.r1", "dnn.r2")
    for surface in ("paper", "paper.d1"):
        values = [statistics[surface][name]["loss_mean"] for name in names]
        assert len(set(values)) == 3
        found = [bands.of_statistic(surface, name, "loss_mean") for name in names]
        assert found[0] is not None
        assert all(band.holds(value) for band in found for value in values)
        assert [band.low for band in found] == pytest.approx([found[0].low] * 3, rel=1e-9)
    assert [sum(bands.categories[name].values()) for name in names] == [3, 3, 3]
    assert tmrepro.verify(tmp_path / "runs/0", level="statistics", reference=tmp_path / "reference").exit_code == 0


@pytest.mark.slow
def test_a_reference_built_by_workers_has_the_same_numbers(tmp_path: Path) -> None:
    (tmp_path / "replicated.yaml").write_text(REPLICATED, encoding="utf-8")
    references = []
    for workers in (1, 2):
        to, runs = tmp_path / f"reference{workers}", tmp_path / f"runs{workers}"
        build_reference(tmp_path / "replicated.yaml", to=to, runs=runs, workers=workers)
        references.append(Reference(to))
    one, two = references
    assert one.statistics == two.statistics
    assert one.bands == two.bands
