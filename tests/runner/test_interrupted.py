"""A run that is ended at any moment continues to the manifest of one that was not, and computes nothing whole again."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

import tmrepro
from tests.support.processes import group_is_gone
from tests.support.recorder import Recorder
from tests.support.runs import untimed

KILL = int(signal.SIGKILL)


def chunks(run: Path) -> dict[str, int]:
    return {str(path): path.stat().st_ino for path in run.glob("surfaces.zarr/*/*/*/c/*/*")}


@pytest.mark.slow
def test_run_killed_in_training_in_surfaces_and_in_closing(spec, start, tmp_path, finished):
    run = tmp_path / "run"

    def killed_at(pattern: str, number: int) -> None:
        command = start("run", spec, "--out", run, blow=(pattern, number, KILL))
        assert command.wait() == -KILL, command.err

    # In training: the fourth checkpoint of the second network is about to be put in its place.
    killed_at(r"_replace .*/checkpoints/cnn", 4)
    assert (run / "models/dnn/minimum.json").exists()
    assert not (run / "models/cnn").exists()
    trained = (run / "models/dnn/theta.safetensors").stat().st_ino

    # In surfaces: of the second network, one chunk is whole and of the next only the loss is there.
    killed_at(r"_replace .*/one/cnn/accuracy/c/0/1", 1)
    assert (run / "surfaces.zarr/one/cnn/loss/c/0/1").exists()
    assert not (run / "surfaces.zarr/one/cnn/accuracy/c/0/1").exists()
    assert (run / "models/dnn/theta.safetensors").stat().st_ino == trained
    before = chunks(run)

    # In closing: all is there but the manifest.
    killed_at(r"_replace .*/manifest-sha256.txt", 1)
    assert not (run / "manifest-sha256.txt").exists()
    half = {path for path in before if "/cnn/loss/c/0/1" in path}
    assert {path: inode for path, inode in chunks(run).items() if path in before and path not in half} == {
        path: inode for path, inode in before.items() if path not in half
    }

    recorder = Recorder()
    result = tmrepro.run(spec, out=run, reporter=recorder)
    assert recorder.names("done") == set(recorder.stages)
    assert (recorder.epochs, recorder.chunks) == ([], [])
    assert not result.already_complete
    assert untimed(run) == untimed(finished)
    assert not (run / ".work").exists()


class EnoughError(Exception):
    """Ends a run from within."""


def test_training_continues_from_its_last_checkpoint(spec, start, tmp_path, finished):
    run = tmp_path / "run"
    command = start("run", spec, "--out", run, blow=(r"_replace .*/checkpoints/norm", 4, KILL))
    assert command.wait() == -KILL

    class UpToTheSurfaces(Recorder):
        def stage(self, name, action, reason):
            super().stage(name, action, reason)
            if name.startswith("surface/"):
                raise EnoughError

    recorder = UpToTheSurfaces()
    with pytest.raises(EnoughError):
        tmrepro.run(spec, out=run, reporter=recorder)
    # The fourth checkpoint never came: epoch 4 is trained again, and nothing before it.
    assert recorder.epochs == [("norm", 4), ("norm", 5), ("norm", 6)]
    assert recorder.names("done") == {"training/dnn", "minimum/dnn", "training/cnn", "minimum/cnn"}
    theta = "models/norm/theta.safetensors"
    assert (run / theta).read_bytes() == (finished / theta).read_bytes()


@pytest.mark.slow
def test_run_that_is_killed_again_and_again_gets_there_in_the_end(spec, start, tmp_path, finished):
    run = tmp_path / "run"
    for attempt in range(60):
        # Uneven strides, so that the blows fall upon all kinds of moments.
        command = start("run", spec, "--out", run, blow=("", 150 + 61 * attempt % 97, KILL))
        code = command.wait()
        if code == 0:
            break
        assert code == -KILL, command.err
    assert attempt > 2
    assert untimed(run) == untimed(finished)
    assert not [path for path in run.rglob("*") if path.suffix in {".tmp", ".partial"}]


def test_run_killed_when_its_manifest_is_there_is_complete(spec, tmp_path, finished):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / ".work/stages").mkdir(parents=True)
    (run / ".work/lock").touch()
    recorder = Recorder()
    result = tmrepro.run(spec, out=run, reporter=recorder)
    assert result.already_complete
    assert recorder.stages == {}
    assert not (run / ".work").exists()
    assert untimed(run) == untimed(finished)


@pytest.mark.slow
def test_interrupt_and_termination_say_how_to_continue_and_leave_a_folder_that_does(spec, start, tmp_path, finished):
    run = tmp_path / "run"
    blow = (r"_replace .*/checkpoints/dnn", 3, int(signal.SIGINT))
    command = start("run", spec, "--out", run, blow=blow)
    assert command.wait() == 130
    assert "interrupted" in command.err
    assert "the same command continues where it stopped" in command.err
    assert "Traceback" not in command.err + command.out
    blow = (r"_replace .*/one/dnn/loss/c/1/0", 1, int(signal.SIGTERM))
    command = start("run", spec, "--out", run, blow=blow)
    assert command.wait() == 143
    assert "terminated" in command.err
    assert "the same command continues where it stopped" in command.err
    assert "Traceback" not in command.err + command.out
    recorder = Recorder()
    tmrepro.run(spec, out=run, reporter=recorder)
    assert "training/dnn" in recorder.names("done")
    assert untimed(run) == untimed(finished)


@pytest.mark.slow
def test_workers_end_with_ctrl_c_and_give_the_same_bytes(spec, start, tmp_path, finished):
    run = tmp_path / "run"
    blow = (r"_replace .*/one/dnn/loss/c/1/1", 1, int(signal.SIGINT))
    command = start("run", spec, "--out", run, "--workers", "2", blow=blow)
    assert command.wait() == 130
    assert "Traceback" not in command.err + command.out
    assert group_is_gone(command.pid)
    continued = start("run", spec, "--out", run)
    assert continued.wait() == 0, continued.err
    assert untimed(run) == untimed(finished)
