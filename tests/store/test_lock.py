"""The run lock between real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest

from tmrepro.errors import DamagedError, UsageError
from tmrepro.store.lock import run_lock

HOLD = """
import sys
from pathlib import Path
from tmrepro.store.lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_lock_of_a_living_process_names_it(tmp_path, other):
    with (
        pytest.raises(UsageError, match=rf"another process \(pid {other.pid}\).*choose another --out"),
        run_lock(tmp_path),
    ):
        pytest.fail("two processes in one folder")


def test_lock_of_a_killed_process_does_not_block(tmp_path, other):
    os.kill(other.pid, signal.SIGKILL)
    other.wait()

    with run_lock(tmp_path):
        assert (tmp_path / ".work/holder").read_text() == f"{os.getpid()}\n"


def test_lock_is_free_after_an_error_and_after_work_is_gone(tmp_path):
    with pytest.raises(RuntimeError, match="boom"), run_lock(tmp_path):
        raise RuntimeError("boom")
    with run_lock(tmp_path):
        shutil.rmtree(tmp_path / ".work")
    assert not (tmp_path / ".work").exists()
    with run_lock(tmp_path), pytest.raises(UsageError, match=f"pid {os.getpid()}"), run_lock(tmp_path):
        pytest.fail("held twice")


def test_work_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".work").symlink_to("elsewhere")

    with pytest.raises(DamagedError, match="symbolic link"), run_lock(tmp_path):
        pytest.fail("worked behind a link")
