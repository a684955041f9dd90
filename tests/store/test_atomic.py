"""Durable writes under injected faults, and paths and files that a run folder must not hold."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from tests.support.runs import contents
from tmrepro.errors import DamagedError, StorageError
from tmrepro.records import Direction, Grid, SurfaceFacts
from tmrepro.store import atomic
from tmrepro.store.atomic import read_bytes, remove, safe_path, work_folder, write_bytes
from tmrepro.store.manifest import check_manifest, write_manifest
from tmrepro.store.surfaces import chunk_slices, consolidate, create_surface, open_surface

OPERATIONS = ("_open", "_write", "_fsync", "_mkdir", "_replace")


class Disk:
    """Counts every call that can fail, and makes the n-th fail; a failing write leaves half of its bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.fails_at: int | None = None
        self.error = errno.ENOSPC
        for name in OPERATIONS:
            monkeypatch.setattr(atomic, name, self._wrapped(name, getattr(atomic, name)))

    def _wrapped(self, name, real):
        def call(*arguments):
            self.calls += 1
            if self.calls == self.fails_at:
                if name == "_write":
                    descriptor, data = arguments
                    os.write(descriptor, data[: len(data) // 2])
                raise OSError(self.error, os.strerror(self.error))
            return real(*arguments)

        return call


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


def store_something(run: Path) -> None:
    """What a run does with its store, leaving out what an earlier try left whole."""
    grid = Grid(a=np.arange(2.0), b=10 + np.arange(2.0), home=(0, 0), step=1.0)
    facts = SurfaceFacts(Direction(1, "a", 1.0), Direction(2, "b", 1.0), 0.0, 2.0, 3, "relabelled")
    create_surface(run, "paper", "dnn", grid=grid, chunk=2, facts=facts)
    loss = grid.a[:, None] + 100 * grid.b[None, :]
    for index, i, j in chunk_slices(2, 2):
        if not open_surface(run, "paper", "dnn").is_whole(index):
            open_surface(run, "paper", "dnn").write(index, loss[i, j], -loss[i, j])
    consolidate(run)
    write_manifest(run, work=work_folder(run))


def files(run: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(run).items() if not name.startswith(".work/")}


def test_whichever_operation_fails_a_second_try_gives_the_same_folder(tmp_path, disk):
    store_something(tmp_path / "whole")
    whole = files(tmp_path / "whole")
    total = disk.calls
    for number in range(1, total + 1):
        run = tmp_path / str(number)
        disk.calls, disk.fails_at = 0, number
        with pytest.raises(StorageError, match=r"disk is full"):
            store_something(run)
        # Whatever stands under its final name is complete; only the root's and the manifest's content comes later.
        for name, data in files(run).items() if run.exists() else []:
            assert data == whole[name] or name == "surfaces.zarr/zarr.json", (number, name)

        disk.fails_at = None
        store_something(run)
        assert files(run) == whole, number
        assert list(work_folder(run).iterdir()) == [], number
        assert check_manifest(run, working=True) == []
    assert total > 50


def test_disk_that_fails_again_and_again_is_overcome_in_the_end(tmp_path, disk):
    run, tries = tmp_path / "run", 0
    while True:
        tries, disk.calls, disk.fails_at = tries + 1, 0, tries + 1
        try:
            store_something(run)
        except StorageError:
            continue
        break
    disk.fails_at = None
    store_something(tmp_path / "whole")
    assert tries > 5
    assert files(run) == files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errno.ENOSPC, "disk is full; free some space"),
        (errno.EDQUOT, "disk is full"),
        (errno.EROFS, "read-only; make it writable or choose another --out"),
        (errno.EACCES, "permission denied; make the folder writable"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_failed_write_says_which_path_why_and_how_to_go_on(tmp_path, disk, error, words):
    target = tmp_path / "spec.yaml"
    write_bytes(target, b"old", work=tmp_path / "work")
    disk.error, disk.fails_at = error, disk.calls + 2

    with pytest.raises(StorageError, match=rf"{target}: cannot be written: .*{words}.*the same command") as caught:
        write_bytes(target, b"new", work=tmp_path / "work")

    assert isinstance(caught.value.__cause__, OSError)
    assert target.read_bytes() == b"old"


def test_short_writes_are_continued(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_write", lambda descriptor, data: os.write(descriptor, data[:7]))

    write_bytes(tmp_path / "a", bytes(range(100)), work=tmp_path / "work")

    assert (tmp_path / "a").read_bytes() == bytes(range(100))


def test_data_is_flushed_before_the_rename_and_the_folder_after_it(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    seen = []
    for name in ("_write", "_fsync", "_replace"):
        real = getattr(atomic, name)
        monkeypatch.setattr(atomic, name, lambda *given, name=name, real=real: (seen.append(name), real(*given))[1])

    write_bytes(tmp_path / "a", b"data", work=tmp_path / "work")

    assert seen == ["_write", "_fsync", "_replace", "_fsync"]


def test_file_where_a_folder_should_be_is_a_storage_error(tmp_path):
    (tmp_path / "out").write_text("a file")

    with pytest.raises(StorageError, match=r"cannot be written"):
        write_bytes(tmp_path / "out/spec.yaml", b"x", work=tmp_path / "out/.work/tmp")


def test_removing_takes_folders_and_links_but_not_what_links_lead_to(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("x")
    (tmp_path / "gone/deep").mkdir(parents=True)
    (tmp_path / "gone/deep/link").symlink_to(tmp_path / "kept")
    (tmp_path / "link").symlink_to(tmp_path / "kept")

    for name in ("gone", "link", "never"):
        remove(tmp_path / name)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]
    assert (tmp_path / "kept/file").exists()


@pytest.mark.parametrize(
    "relative", ["/etc/passwd", "../x", "a/../b", "a//b", "", ".", "a/.", "a\\b", "a\0b", "\udc80\ud800"]
)
def test_path_that_could_lead_out_is_refused(tmp_path, relative):
    with pytest.raises(DamagedError):
        safe_path(tmp_path, relative)


def test_path_that_is_too_long_for_the_system_is_refused(tmp_path):
    with pytest.raises(DamagedError, match=r"cannot be looked up"):
        safe_path(tmp_path, "x" * 5000)


@pytest.mark.parametrize("target", ["/etc", "inside", "nowhere"])
def test_any_link_below_the_root_is_refused(tmp_path, target):
    (tmp_path / "run/inside").mkdir(parents=True)
    (tmp_path / "run/link").symlink_to(target)

    for relative in ("link", "link/file"):
        with pytest.raises(DamagedError, match=r"symbolic link"):
            safe_path(tmp_path / "run", relative)


def test_plain_paths_pass_and_the_root_may_itself_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to("real")

    assert safe_path(tmp_path / "root", "a/b.r1/c") == tmp_path / "root/a/b.r1/c"


def test_reading_refuses_what_is_no_plain_file_or_too_large(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")

    assert read_bytes(tmp_path / "file", limit_bytes=5) == b"12345"
    for name, limit, words in [
        ("file", 4, "at most 4 bytes, found 5"),
        ("link", 9, "symbolic link"),
        ("pipe", 9, "plain file"),
        (".", 9, "plain file"),
        ("none", 9, "missing"),
        ("file/below", 9, "missing"),
    ]:
        with pytest.raises(DamagedError, match=rf"^models/x: .*{words}"):
            read_bytes(tmp_path / name, limit_bytes=limit, name="models/x")
