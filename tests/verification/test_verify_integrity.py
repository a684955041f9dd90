"""Level integrity: every change of a byte, a file or a folder is found, named, and ends with exit code 3."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tmrepro
from tmrepro.errors import ArtefactError, UsageError
from tmrepro.store.specs import written_hash
from tmrepro.verification import Verdict
from tmrepro.verification.level_integrity import check_integrity

KINDS = (
    "spec.yaml",
    "provenance.json",
    "ro-crate-metadata.json",
    "statistics.json",
    "report.html",
    "manifest-sha256.txt",
    "models/dnn/theta.safetensors",
    "models/dnn/labels.npy",
    "models/cnn/history.csv",
    "models/cnn/minimum.json",
    "figures/paper.png",
    "figures/paper.pdf",
    "surfaces.zarr/zarr.json",
    "surfaces.zarr/paper/zarr.json",
    "surfaces.zarr/paper/dnn/zarr.json",
    "surfaces.zarr/paper/dnn/loss/zarr.json",
    "surfaces.zarr/paper/dnn/loss/c/0/1",
    "surfaces.zarr/paper/cnn/accuracy/c/1/0",
    "surfaces.zarr/paper/cnn/a/c/0",
)


def integrity(run: Path) -> Verdict:
    return tmrepro.verify(run, level="integrity")


def found(verdict: Verdict) -> list[str]:
    assert verdict.exit_code == 3
    assert verdict.grade == "damaged"
    return [check.subject for check in verdict.checks if not check.passed]


def test_a_whole_run_is_identical(whole_run: Path) -> None:
    verdict = integrity(whole_run)
    assert verdict.exit_code == 0
    assert {check.grade for check in verdict.checks} == {"identical"}
    assert {check.level for check in verdict.checks} == {"integrity"}


def test_the_listed_kinds_are_all_that_a_run_has(whole_run: Path) -> None:
    files = {path.relative_to(whole_run).as_posix() for path in whole_run.rglob("*") if path.is_file()}
    covered = {Path(kind).name.split(".")[0] if "/c/" not in kind else "chunk" for kind in KINDS}
    others = {Path(file).name.split(".")[0] if "/c/" not in file else "chunk" for file in files}
    assert others <= covered | {"training"}


@pytest.mark.parametrize("relative", KINDS)
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_a_flipped_bit_is_found(run: Path, relative: str, place: float) -> None:
    path = run / relative
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 4
    path.write_bytes(data)
    subjects = found(integrity(run))
    assert relative in subjects or relative == "manifest-sha256.txt"


@pytest.mark.parametrize("relative", KINDS)
@pytest.mark.parametrize("damage", ["truncate", "empty", "delete", "link", "folder"])
def test_a_file_that_is_not_whole_is_found(run: Path, tmp_path: Path, relative: str, damage: str) -> None:
    path = run / relative
    data = path.read_bytes()
    path.unlink()
    match damage:
        case "truncate":
            path.write_bytes(data[:-1])
        case "empty":
            path.write_bytes(b"")
        case "link":
            (tmp_path / "elsewhere").write_bytes(data)
            path.symlink_to(tmp_path / "elsewhere")
        case "folder":
            path.mkdir()
    assert relative in found(integrity(run))


def test_a_pipe_in_place_of_the_spec_is_not_waited_on(run: Path) -> None:
    (run / "spec.yaml").unlink()
    os.mkfifo(run / "spec.yaml")
    assert "spec.yaml" in found(tmrepro.verify(run))


@pytest.mark.parametrize(
    "relative", ["notes.txt", "models/dnn/extra.json", "surfaces.zarr/paper/dnn/loss/c/5/5", ".hidden"]
)
def test_a_file_too_many_is_found(run: Path, relative: str) -> None:
    (run / relative).parent.mkdir(parents=True, exist_ok=True)
    (run / relative).write_text("x", encoding="utf-8")
    assert found(integrity(run)) == [relative]


def test_swapped_chunks_are_found(run: Path) -> None:
    first, second = (run / "surfaces.zarr/paper/dnn/loss/c" / part for part in ("0/1", "1/0"))
    data = first.read_bytes(), second.read_bytes()
    assert data[0] != data[1]
    first.write_bytes(data[1])
    second.write_bytes(data[0])
    assert found(integrity(run)) == [f"surfaces.zarr/paper/dnn/loss/c/{part}" for part in ("0/1", "1/0")]


@pytest.mark.parametrize(
    "relative",
    ["notes.txt", "models/dnn/more.npy", "models/other/minimum.json", "surfaces.zarr/paper/dnn/loss/c/5/5"],
)
def test_a_file_too_many_is_found_under_a_manifest_that_lists_it(forger: Any, relative: str) -> None:
    (forger.run / relative).parent.mkdir(parents=True, exist_ok=True)
    (forger.run / relative).write_text("{}", encoding="utf-8")
    forger.seal()
    assert found(integrity(forger.run)) == [relative]


def test_a_surface_too_many_is_found_under_a_manifest_that_lists_it(forger: Any) -> None:
    shutil.copytree(forger.run / "surfaces.zarr/paper/dnn", forger.run / "surfaces.zarr/paper/other")
    forger.seal()
    assert all(subject.startswith("surfaces.zarr/paper/other/") for subject in found(integrity(forger.run)))


@pytest.mark.parametrize("relative", ["models/cnn/theta.safetensors", "report.html", "surfaces.zarr/paper/cnn/b/c/0"])
def test_a_file_too_few_is_found_under_a_manifest_without_it(forger: Any, relative: str) -> None:
    (forger.run / relative).unlink()
    forger.seal()
    assert found(integrity(forger.run)) == [relative]


def test_a_model_cannot_be_called_collapsed_to_be_rid_of_its_surface(forger: Any) -> None:
    forger.minimum("cnn", category="collapsed")
    shutil.rmtree(forger.run / "surfaces.zarr/paper/cnn")
    forger.json("statistics.json", lambda document: document["paper"].pop("cnn") and None)
    forger.seal()
    assert "surfaces.zarr/paper/cnn/zarr.json" in found(integrity(forger.run))


def test_a_chunk_with_a_wrong_checksum_is_found_under_a_manifest_that_holds(forger: Any) -> None:
    path = forger.run / "surfaces.zarr/paper/dnn/loss/c/1/1"
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    forger.seal()
    assert found(integrity(forger.run)) == ["surfaces.zarr/paper/dnn"]


@pytest.mark.parametrize("content", ["", "version: 1\n", "{", "- a\n", "\x00"])
def test_a_spec_that_is_none_is_found_under_a_manifest_that_holds(forger: Any, content: str) -> None:
    (forger.run / "spec.yaml").write_text(content, encoding="utf-8")
    forger.seal()
    for level in ("integrity", "statistics", "audit", "rerun", None):
        assert found(tmrepro.verify(forger.run, level=level)) == ["spec.yaml"]


def test_another_spec_is_found_by_its_hash(forger: Any) -> None:
    path = forger.run / "spec.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("K: 5", "K: 6", 1), encoding="utf-8")
    forger.seal()
    assert "spec.yaml" in found(integrity(forger.run))


@pytest.mark.parametrize("content", ["[]", "null", '"text"', "{}", '{"spec_hash": 5}', "{"])
def test_provenance_that_is_none_is_damage(forger: Any, content: str) -> None:
    (forger.run / "provenance.json").write_text(content, encoding="utf-8")
    forger.seal(records=False)
    assert found(tmrepro.verify(forger.run))


def test_damage_ends_every_level_before_anything_is_computed(run: Path) -> None:
    (run / "statistics.json").write_text("{}", encoding="utf-8")
    for level in ("integrity", "statistics", "audit", "rerun"):
        verdict = tmrepro.verify(run, level=level)
        assert found(verdict) == ["statistics.json"]
        assert {check.level for check in verdict.checks} == {"integrity"}


def test_each_finding_is_told(run: Path) -> None:
    (run / "statistics.json").unlink()
    (run / "models/dnn/labels.npy").unlink()
    (run / "extra").write_text("", encoding="utf-8")
    assert sorted(found(integrity(run))) == ["extra", "models/dnn/labels.npy", "statistics.json"]


def test_a_folder_that_is_no_run_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x", encoding="utf-8")
    verdict = tmrepro.verify(tmp_path)
    assert found(verdict) == [str(tmp_path)]
    assert "no run" in verdict.checks[0].detail
    assert "tmrepro run" in verdict.checks[0].detail


def test_a_run_that_is_not_finished_is_damaged(run: Path) -> None:
    (run / "manifest-sha256.txt").unlink()
    (run / ".work").mkdir()
    assert {".work", "manifest-sha256.txt"} <= set(found(integrity(run)))


def test_nothing_there_is_a_missing_artefact(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="nothing is there") as caught:
        tmrepro.verify(tmp_path / "no")
    assert caught.value.exit_code == 3


def test_an_unknown_level_is_wrong_usage(run: Path, spec_file: Path) -> None:
    with pytest.raises(UsageError, match="integrity, statistics, audit, rerun"):
        tmrepro.verify(run, level="bits")
    with pytest.raises(UsageError, match="needs a run folder"):
        tmrepro.verify(spec_file, level="audit")


@pytest.mark.parametrize("wrong", [{"share": 0.0}, {"share": 1.5}, {"seed": -1}, {"seed": 2**64}])
def test_a_sample_that_cannot_be_is_wrong_usage(run: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must be"):
        tmrepro.verify(run, **wrong)


def test_sha256sum_agrees(run: Path) -> None:
    def check() -> int:
        command = ["sha256sum", "-c", "--quiet", "manifest-sha256.txt"]
        return subprocess.run(command, cwd=run, capture_output=True, check=False).returncode

    assert check() == 0
    (run / "report.html").write_text("x", encoding="utf-8")
    assert check() != 0
    assert found(integrity(run)) == ["report.html"]


def test_integrity_needs_no_torch(run: Path) -> None:
    code = (
        "import sys, tmrepro; verdict = tmrepro.verify(sys.argv[1], level='integrity'); "
        "print(sorted({'torch', 'matplotlib'} & set(sys.modules)), verdict.exit_code)"
    )
    told = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[] 0"


def test_a_spec_written_before_a_field_was_added_is_whole(run, forger):
    """Its hash is that of what was written then; the field has its default, which changes nothing."""
    path = run / "spec.yaml"
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if "trajectory: null" not in line
    ]
    path.write_text("".join(lines), encoding="utf-8")
    assert "trajectory" not in path.read_text(encoding="utf-8")
    forger.json("provenance.json", lambda document: document.update(spec_hash=written_hash(run)))
    forger.seal()
    assert all(check.passed for check in check_integrity(run))
