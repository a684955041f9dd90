"""The manifest against sha256sum, and the check against folders that somebody tampered with."""

from __future__ import annotations

import hashlib
import os
import subprocess

import pytest

from tmrepro.errors import DamagedError
from tmrepro.store.manifest import check_manifest, file_hashes, write_manifest
from tmrepro.store.run_files import MANIFEST

FILES = {
    "spec.yaml": b"version: 1\n",
    "models/dnn/labels.npy": b"\x93NUMPY",
    "models/dnn.r1/labels.npy": b"",
    "models/dnn-wide/labels.npy": b"x" * 100_000,
    "report.html": "räport".encode(),
    "Zahlen.txt": b"1",
}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    write_manifest(folder, work=tmp_path / "work")
    return folder


def problems(run, **options):
    return [(finding.path, finding.problem) for finding in check_manifest(run, **options)]


def test_sha256sum_accepts_it(run):
    checked = subprocess.run(["sha256sum", "--strict", "-c", MANIFEST], cwd=run, capture_output=True, text=True)

    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count(": OK") == len(FILES)


def test_lines_are_sorted_by_the_bytes_of_their_paths(run):
    paths = [line[66:] for line in (run / MANIFEST).read_text().splitlines()]

    assert paths == sorted(FILES, key=str.encode)
    assert paths.index("models/dnn-wide/labels.npy") < paths.index("models/dnn.r1/labels.npy")


def test_untouched_folder_has_no_findings(run):
    assert check_manifest(run) == []


def test_work_folder_is_not_in_the_manifest_and_a_finding_unless_one_works_there(run, tmp_path):
    (run / ".work/tmp").mkdir(parents=True)
    (run / ".work/lock").write_text("")
    before = (run / MANIFEST).read_bytes()

    write_manifest(run, work=tmp_path / "work")

    assert (run / MANIFEST).read_bytes() == before
    assert problems(run, working=True) == []
    assert problems(run) == [(".work", "extra")]


def test_each_kind_of_tampering_is_one_finding(run):
    (run / "spec.yaml").write_bytes(b"version: 2\n")
    (run / "report.html").unlink()
    (run / "models/dnn-wide/labels.npy").write_bytes(b"")
    (run / "models/dnn/extra.pkl").write_bytes(b"cos\nsystem\n")
    (run / "Zahlen.txt").unlink()
    (run / "Zahlen.txt").symlink_to("/etc/passwd")

    assert problems(run) == [
        ("Zahlen.txt", "link"),
        ("models/dnn-wide/labels.npy", "empty"),
        ("models/dnn/extra.pkl", "extra"),
        ("report.html", "missing"),
        ("spec.yaml", "changed"),
    ]
    old, new = (hashlib.sha256(data).hexdigest()[:8] for data in (FILES["spec.yaml"], b"version: 2\n"))
    assert f"stored {old}, computed {new}" in str(check_manifest(run)[-1])


def test_folder_replaced_by_a_link_to_the_same_files_is_noticed(run, tmp_path):
    (run / "models").rename(tmp_path / "models")
    (run / "models").symlink_to(tmp_path / "models")

    assert ("models", "link") in problems(run)
    assert ("models/dnn/labels.npy", "missing") in problems(run)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        f"{'0' * 64} one-space",
        f"{'A' * 64}  upper",
        f"{'0' * 63}  short",
        f"{'0' * 64}  ../../etc/passwd",
        f"{'0' * 64}  /etc/passwd",
        f"{'0' * 64}  a\\b",
        f"{'0' * 64}  a//b",
        f"{'0' * 64}  spec.yaml",
        f"{'0' * 64}  \x1b[31mred",
    ],
)
def test_malformed_line_is_a_finding_with_its_number(run, line):
    with (run / MANIFEST).open("a") as manifest:
        manifest.write(line + "\n")

    (finding,) = check_manifest(run)
    assert (finding.path, finding.problem) == (MANIFEST, "malformed")
    assert f"line {len(FILES) + 1}: " in finding.message
    assert str(finding).isprintable()


@pytest.mark.parametrize(("data", "problem"), [(b"", "empty"), (b"\xff\xfe", "malformed"), (b"\0" * 100, "malformed")])
def test_manifest_that_is_empty_or_no_text(run, data, problem):
    (run / MANIFEST).write_bytes(data)

    found = problems(run)
    assert (MANIFEST, problem) in found
    assert ("spec.yaml", "extra") in found


def test_missing_manifest(run, tmp_path):
    (run / MANIFEST).rename(tmp_path / "elsewhere")
    assert (MANIFEST, "missing") in problems(run)

    (run / MANIFEST).symlink_to(tmp_path / "elsewhere")
    assert (MANIFEST, "unreadable") in problems(run)


def test_hostile_names_pipes_and_missing_folders_are_findings_and_never_an_error(run, tmp_path):
    os.mkfifo(run / "pipe")
    (run / "new\nline").write_text("x")
    (run / "back\\slash").write_text("x")
    (run / os.fsdecode(b"\xff\xfe")).write_text("x")

    found = check_manifest(run)

    assert sorted(finding.problem for finding in found) == ["extra", "extra", "extra", "unreadable"]
    assert all(str(finding).isprintable() for finding in found)
    assert ("pipe", "unreadable") in problems(run)
    assert problems(tmp_path / "nowhere") != []


@pytest.mark.parametrize("name", ["new\nline", "back\\slash", "\udcff"])
def test_name_that_would_need_escaping_is_never_written(run, tmp_path, name):
    (run / name).write_text("x")

    with pytest.raises(DamagedError, match=r"a file name that a manifest cannot have"):
        write_manifest(run, work=tmp_path / "work")


def test_link_is_never_written(run, tmp_path):
    (run / "link").symlink_to("spec.yaml")

    with pytest.raises(DamagedError, match=r"link: expected plain files only"):
        write_manifest(run, work=tmp_path / "work")


def test_hashes_of_chosen_files(run):
    assert file_hashes(run, ["spec.yaml", "Zahlen.txt"]) == {
        name: hashlib.sha256(FILES[name]).hexdigest() for name in ("Zahlen.txt", "spec.yaml")
    }
    with pytest.raises(DamagedError, match=r"nothing: missing"):
        file_hashes(run, ["nothing"])
