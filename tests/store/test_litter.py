"""Files of other programs in a folder, and text files that were converted on their way."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tmrepro.errors import DamagedError
from tmrepro.store.documents import read_json, write_json
from tmrepro.store.litter import find_litter, removal_command
from tmrepro.store.manifest import check_manifest, old_content, refuse_litter, told, write_manifest
from tmrepro.store.run_files import MANIFEST

FILES = {
    "spec.yaml": b"version: 1\n",
    "surfaces.zarr/zarr.json": b'{\n  "zarr_format": 3\n}',
    "models/dnn/history.csv": b"epoch,train_loss\n1,0.5\n",
    "models/dnn/theta.safetensors": b"\0\1\r\n\xff",
}
LITTER = (
    ".DS_Store", "surfaces.zarr/._zarr.json", "models/Thumbs.db", "models/dnn/Desktop.ini", ".directory", "__MACOSX/models/._dnn",
    ".Spotlight-V100/Store-V2/x", "models/@eaDir/dnn/y", "models/.ipynb_checkpoints/z", "spec.yaml~", ".spec.yaml.swp",
    "models/.nfs000000000123", ".fuse_hidden0000012300000001", "spec.sync-conflict-20240101-123456-ABCDEFG.yaml",
    "spec (Ada's conflicted copy 2024-01-01).yaml",
)  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "a run"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    write_manifest(folder, work=tmp_path / "work")
    return folder


def drop(run: Path, name: str) -> None:
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_bytes(b"x")


def found(run: Path) -> list[tuple[str, str]]:
    return [(finding.path, finding.problem) for finding in check_manifest(run)]


@pytest.mark.parametrize("name", LITTER)
def test_litter_is_one_finding_of_a_kind_of_its_own(run: Path, name: str) -> None:
    drop(run, name)
    ((path, problem),) = found(run)
    assert problem == "litter"
    assert name == path or name.startswith(f"{path}/")
    assert "litter of a" in told(run, check_manifest(run))
    with pytest.raises(DamagedError, match="litter of a"):
        refuse_litter(run)
    with pytest.raises(DamagedError, match="litter of a"):
        write_manifest(run, work=run.parent / "work")


def test_an_empty_folder_of_that_name_is_litter_and_a_link_is_not(run: Path) -> None:
    (run / ".Trashes").mkdir()
    (run / ".DS_Store").symlink_to("/etc/passwd")
    assert found(run) == [(".DS_Store", "link"), (".Trashes", "litter")]


@pytest.mark.parametrize(
    "name", ["notes.txt", ".hidden", "models/dnn/extra.json", "DS_Store", "models/dnn/x._y", "\n/.DS_Store"]
)
def test_other_files_are_no_litter(run: Path, name: str) -> None:
    drop(run, name)
    assert [problem for _, problem in found(run)] == ["extra"]
    assert all(find_litter(path) is None for path in FILES)


def test_damage_is_told_before_litter(run: Path) -> None:
    drop(run, ".DS_Store")
    (run / "spec.yaml").write_bytes(b"version: 2\n")
    assert found(run) == [("spec.yaml", "changed"), (".DS_Store", "litter")]
    assert told(run, check_manifest(run)).startswith("spec.yaml: SHA-256 differs")


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_command_removes_exactly_the_litter(run: Path, many: bool) -> None:
    before = sorted(run.rglob("*"))
    for name in LITTER if many else LITTER[:2]:
        drop(run, name)
    (run / "notes.txt").write_text("kept")
    (run / "models" / "@eaDir").mkdir(exist_ok=True)
    paths = [path for path, problem in found(run) if problem == "litter"]
    subprocess.run(["bash", "-c", removal_command(str(run), paths)], check=True)
    (run / "notes.txt").unlink()
    assert sorted(run.rglob("*")) == before
    assert found(run) == []


CRLF = "its line ends were changed"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.replace(b"\n", b"\r\n"), CRLF),
        (lambda data: b"\xef\xbb\xbf" + data, "a byte order mark"),
        (lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"), CRLF),
        (lambda data: data.removesuffix(b"\n"), "its last line end was removed"),
    ],
)
def test_converted_manifest_is_one_finding_and_still_read(run: Path, change, words: str) -> None:
    (run / MANIFEST).write_bytes(change((run / MANIFEST).read_bytes()))
    (finding,) = check_manifest(run)
    assert (finding.path, finding.problem) == (MANIFEST, "converted")
    assert words in finding.message
    (run / "spec.yaml").write_bytes(b"version: 2\n")
    assert found(run) == [(MANIFEST, "converted"), ("spec.yaml", "changed")]


def test_manifest_that_was_cut_off_in_a_path_is_no_conversion(run: Path) -> None:
    (run / MANIFEST).write_bytes((run / MANIFEST).read_bytes()[:-3])
    assert (MANIFEST, "malformed") in found(run)


@pytest.mark.parametrize("name", ["spec.yaml", "surfaces.zarr/zarr.json", "models/dnn/history.csv"])
@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"),
        lambda data: data.removesuffix(b"\n") if data.endswith(b"\n") else data + b"\n",
        lambda data: data.replace(b"\n", b"\r\n") if data.endswith(b"\n") else data.replace(b"\n", b"\r\n") + b"\r\n",
    ],
)
def test_converted_file_is_told_from_a_changed_one_and_can_be_put_back(run: Path, name: str, change) -> None:
    (run / name).write_bytes(change(FILES[name]))
    assert found(run) == [(name, "converted")]
    assert old_content(run, name) == FILES[name]
    (run / name).write_bytes(change(FILES[name]).replace(b"1", b"2").replace(b"3", b"2"))
    assert found(run) == [(name, "changed")]
    assert old_content(run, name) is None


def test_pointer_of_git_lfs_is_said_to_be_one(run: Path) -> None:
    name = "models/dnn/theta.safetensors"
    (run / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    (finding,) = check_manifest(run)
    assert (finding.path, finding.problem) == (name, "changed")
    assert "git lfs pull" in finding.message


def test_file_names_that_are_no_text_can_stand_in_json(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"from": "/a\udcff\\é"}, work=tmp_path)
    assert read_json(tmp_path / "x.json") == {"from": "/a\\udcff\\é"}
