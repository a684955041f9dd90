"""A run among files of other programs, or with changed line ends: not verified, in words that say what it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import tmrepro
from tmrepro.comparison.runs import compare_runs
from tmrepro.errors import DamagedError
from tmrepro.verification.document import verdict_document
from tmrepro.verification.junit import write_junit
from tmrepro.verification.page import render_page


def littered(run: Path) -> Path:
    (run / ".DS_Store").write_bytes(b"x")
    (run / "surfaces.zarr/paper/dnn/._zarr.json").write_bytes(b"x")
    return run


@pytest.mark.parametrize("level", ["integrity", "audit"])
def test_litter_alone_is_not_called_damage(run: Path, tmp_path: Path, level: str) -> None:
    verdict = tmrepro.verify(littered(run), level=level)
    assert (verdict.exit_code, verdict.grade, verdict.passed) == (3, "litter", False)
    assert "DAMAGED" not in verdict.headline
    assert "litter of a file manager (.DS_Store and 1 more)" in verdict.headline
    failed = [check for check in verdict.checks if not check.passed]
    assert [check.subject for check in failed] == [".DS_Store", "surfaces.zarr/paper/dnn/._zarr.json"]
    assert all(check.level == "integrity" for check in verdict.checks)
    assert f"rm -rf -- {run}/.DS_Store {run}/surfaces.zarr/paper/dnn/._zarr.json" in verdict.notes[0]
    write_junit(verdict, tmp_path / "x.xml")
    for told in (json.dumps(verdict_document(verdict)), (tmp_path / "x.xml").read_text(), render_page(verdict)):
        assert "litter of a file manager" in told
        assert "rm -rf" in told
    assert "<h1>Not verified" in render_page(verdict)


def test_damage_beside_litter_is_damage(run: Path) -> None:
    (littered(run) / "statistics.json").write_text("{}", encoding="utf-8")
    verdict = tmrepro.verify(run)
    assert (verdict.exit_code, verdict.grade) == (3, "damaged")
    assert verdict.headline.startswith("DAMAGED")


def test_litter_that_a_manifest_vouches_for_is_damage(run: Path) -> None:
    (run / "models/dnn/.DS_Store").write_bytes(b"x")
    manifest = run / "manifest-sha256.txt"
    digest = hashlib.sha256(b"x").hexdigest()
    manifest.write_text(f"{manifest.read_text()}{digest}  models/dnn/.DS_Store\n")
    verdict = tmrepro.verify(run, level="integrity")
    assert (verdict.grade, verdict.exit_code) == ("damaged", 3)


def test_litter_in_a_reference_is_said(run: Path, reference: Path) -> None:
    (reference / "figures" / "Thumbs.db").write_bytes(b"x")
    verdict = tmrepro.verify(run, level="statistics", reference=reference)
    assert (verdict.grade, verdict.exit_code) == ("litter", 3)
    assert "litter of a file manager" in verdict.headline


def test_the_other_commands_say_the_same(run: Path, whole_run: Path, spec_file: Path, tmp_path: Path) -> None:
    littered(run)
    before = sorted(run.rglob("*"))
    with pytest.raises(DamagedError, match=r"litter of a file manager .*remove it: rm -rf"):
        compare_runs(whole_run, run)
    with pytest.raises(DamagedError, match=r"litter of a file manager .*remove it, then run again: rm -rf"):
        tmrepro.run(tmrepro.open_run(run).spec, out=run)
    assert sorted(run.rglob("*")) == before
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".DS_Store").write_bytes(b"x")
    with pytest.raises(DamagedError, match="litter of a file manager"):
        tmrepro.run(spec_file, out=tmp_path / "empty")
    assert [path.name for path in (tmp_path / "empty").iterdir()] == [".DS_Store"]
    assert tmrepro.open_run(run).surface("paper", "dnn").loss.shape == (5, 5)


def test_litter_of_a_donor_is_not_taken_over(run: Path, tmp_path: Path) -> None:
    spec = tmrepro.open_run(run).spec
    again = tmrepro.run(spec, out=tmp_path / "again", reuse=littered(run)).run
    assert tmrepro.verify(again, level="integrity").exit_code == 0


def test_run_puts_changed_line_ends_back(run: Path, whole_run: Path) -> None:
    for name in (
        "manifest-sha256.txt",
        "provenance.json",
        "spec.yaml",
        "models/dnn/history.csv",
        "surfaces.zarr/zarr.json",
    ):
        (run / name).write_bytes((run / name).read_bytes().replace(b"\n", b"\r\n"))
    verdict = tmrepro.verify(run)
    assert verdict.exit_code == 3
    assert all("line ends were changed" in check.detail for check in verdict.checks)
    tmrepro.run(tmrepro.open_run(whole_run).spec, out=run)
    assert tmrepro.verify(run, level="integrity").exit_code == 0
    name = "models/dnn/history.csv"
    assert (run / name).read_bytes() == (whole_run / name).read_bytes()
