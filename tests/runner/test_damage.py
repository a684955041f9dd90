"""A finished folder that was damaged: the same command makes exactly that again, and vouches for nothing it did not write."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import tmrepro
from tests.runner.specs import TINY_SPEC
from tests.support.recorder import Recorder
from tests.support.runs import untimed
from tests.support.specs import write_spec
from tmrepro.errors import DamagedError, UsageError
from tmrepro.store.surfaces import open_surface


def flip(path: Path, position: int = -7) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))


@pytest.fixture
def run(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


CASES = {
    "surfaces.zarr/one/cnn/loss/c/1/2": {"surface/one/cnn"},
    "surfaces.zarr/one/cnn/zarr.json": {"surface/one/cnn"},
    "surfaces.zarr/one/zarr.json": set(),
    "surfaces.zarr/zarr.json": set(),
    "models/norm/theta.safetensors": {"training/norm"},
    "models/norm/labels.npy": {"minimum/norm"},
    "models/cnn/minimum.json": {"planes/cnn"},
    "models/dnn/history.csv": {"training/dnn"},
    "statistics.json": set(),
    "spec.yaml": set(),
    "report.html": set(),
    "ro-crate-metadata.json": set(),
}


@pytest.mark.parametrize("path", CASES)
def test_flipped_byte_is_repaired_and_nothing_else_is_computed(run, spec, finished, path):
    flip(run / path)
    recorder = Recorder()
    result = tmrepro.run(spec, out=run, reporter=recorder)
    assert not result.already_complete
    assert recorder.names("runs") | recorder.names("continues") == CASES[path]
    assert any(path in told for told in recorder.notes)
    assert all(path in reason for _, reason in (recorder.stages[name] for name in CASES[path]))
    assert untimed(run) == untimed(finished)


@pytest.mark.parametrize("path", ["models/cnn/theta.safetensors", "surfaces.zarr/one/dnn/accuracy/c/0/0", "spec.yaml"])
def test_missing_file_is_made_again(run, spec, finished, path):
    (run / path).unlink()
    tmrepro.run(spec, out=run)
    assert untimed(run) == untimed(finished)


def test_of_a_surface_only_the_damaged_chunk_is_computed(run, spec):
    before = {path: path.stat().st_ino for path in run.glob("surfaces.zarr/one/*/*/c/*/*")}
    damaged = run / "surfaces.zarr/one/cnn/accuracy/c/2/0"
    flip(damaged)
    recorder = Recorder()
    tmrepro.run(spec, out=run, reporter=recorder)
    # The chunk covers one row of the last two, and two columns: 2 of 25 points.
    assert recorder.chunks == [("one", "cnn", 23, 25), ("one", "cnn", 25, 25)]
    changed = {path for path, inode in before.items() if path.stat().st_ino != inode}
    assert changed == {damaged, run / "surfaces.zarr/one/cnn/loss/c/2/0"}


def test_chunk_that_was_forged_with_a_checksum_of_its_own_is_not_trusted(run, spec, finished):
    open_surface(run, "one", "dnn").write((2, 2), np.array([[0.125]]), np.array([[1.0]]))
    shutil.rmtree(run / ".work")
    tmrepro.run(spec, out=run)
    assert untimed(run) == untimed(finished)


@pytest.mark.slow
def test_deleted_figure_is_drawn_again(run, spec, finished):
    (run / "figures/one.shared.png").unlink()
    recorder = Recorder()
    tmrepro.run(spec, out=run, reporter=recorder)
    assert recorder.names("runs") == {"figures"}
    assert untimed(run) == untimed(finished)


@pytest.mark.slow
def test_provenance_that_was_changed_vouches_for_nothing(run, spec, finished):
    text = (run / "provenance.json").read_text()
    assert '"best_epoch": 6' in text
    (run / "provenance.json").write_text(text.replace('"best_epoch": 6', '"best_epoch": 5'))
    recorder = Recorder()
    tmrepro.run(spec, out=run, reporter=recorder)
    assert recorder.names("done") == set()
    assert "cannot be trusted" in " ".join(recorder.notes)
    assert untimed(run) == untimed(finished)


@pytest.mark.parametrize("line", [0, 40])
def test_damaged_manifest_is_written_again(run, spec, finished, line):
    lines = (run / "manifest-sha256.txt").read_text().splitlines(keepends=True)
    lines[line] = lines[line][:5] + "?" + lines[line][6:]
    (run / "manifest-sha256.txt").write_text("".join(lines))
    recorder = Recorder()
    tmrepro.run(spec, out=run, reporter=recorder)
    assert recorder.names("done") == set(recorder.stages)
    assert untimed(run) == untimed(finished)


@pytest.mark.parametrize("extra", ["notes.txt", "models/dnn/theta.safetensors.bak", "surfaces.zarr/one/dnn/loss/c/9/9"])
def test_file_that_no_run_writes_is_refused_until_it_is_gone(run, spec, start, extra):
    (run / extra).parent.mkdir(parents=True, exist_ok=True)
    (run / extra).write_text("mine")
    command = start("run", spec, "--out", run)
    assert command.wait() == 3
    assert f"{extra}: not a file of this run; remove it" in command.err
    assert not (run / ".work").exists()
    (run / extra).unlink()
    if not any((run / extra).parent.iterdir()):
        (run / extra).parent.rmdir()
    assert tmrepro.run(spec, out=run).already_complete


def test_file_put_into_an_unfinished_run_is_not_taken_into_its_manifest(run, spec):
    (run / "statistics.json").unlink()
    (run / "models/dnn/notes.txt").write_text("mine")
    recorder = Recorder()
    with pytest.raises(DamagedError, match=r"models/dnn/notes.txt: not a file of this run"):
        tmrepro.run(spec, out=run, reporter=recorder)


def test_link_is_refused_and_what_it_leads_to_left_alone(run, spec, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (run / "models/dnn").rename(elsewhere)
    (run / "models/dnn").symlink_to(elsewhere)
    before = {path: path.read_bytes() for path in elsewhere.iterdir()}
    with pytest.raises(DamagedError, match="remove it"):
        tmrepro.run(spec, out=run)
    assert {path: path.read_bytes() for path in elsewhere.iterdir()} == before


def test_spec_that_was_changed_in_a_finished_run_is_damage_and_not_another_spec(run, tmp_path):
    text = (run / "spec.yaml").read_text()
    (run / "spec.yaml").write_text(text.replace("epsilon: 0.05", "epsilon: 0.06"))
    # Asked for with neither the spec of the run nor the changed one.
    with pytest.raises(DamagedError, match="changed after the run was finished"):
        tmrepro.run(write_spec(tmp_path, TINY_SPEC, ("K: 5", "K: 4")), out=run)


@pytest.mark.parametrize("text", ["", "- a\n- list\n", "version: 1\n"])
def test_spec_of_a_folder_that_is_none_is_damage(tmp_path, spec, text):
    (tmp_path / "spec.yaml").write_text(text)
    with pytest.raises(DamagedError, match=r"spec\.yaml"):
        tmrepro.run(spec, out=tmp_path)


def test_two_processes_at_once(run, spec, start):
    """The first is held within its lock, by a pipe that it cannot open for writing until somebody reads."""
    (run / "statistics.json").unlink()
    first = start("run", spec, "--out", run, blow=(r"_replace .*/statistics.json", 1, 19))  # SIGSTOP
    while not (run / ".work/stages").exists() or "T" not in _state(first.pid):
        assert Path(f"/proc/{first.pid}").exists()
    with pytest.raises(UsageError, match=f"another process .pid {first.pid}. is working in this folder"):
        tmrepro.run(spec, out=run)
    second = start("run", spec, "--out", run)
    assert second.wait() == 2
    assert "is working in this folder" in second.err
    os.killpg(first.pid, 18)  # SIGCONT
    assert first.wait() == 0, first.err


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
