"""Whoever computes, and whatever happens to it: the run is the one that a single process makes, to the last bit.

Three real worker processes of one `tmrepro worker`, and a scheduler of Dask's own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SPEC = """
version: 1
name: spread
data: {name: digits, train: 60, validation: 20, size: 8}
models:
  - {name: dnn, kind: dnn, widths: [8, 10]}
  - {name: slow, kind: custom, factory: "slow_networks:slow"}
training: {batch_size: 20, warmup_steps: 2, max_epochs: 5, stop: {at: never}, trajectory: {every: 2}}
surfaces:
  - {name: one, grid: {K: 4, step: 0.5}, chunk: 2}
  - {name: along, directions: {kind: pca}, labels: original, grid: {K: 3, origin: center, step: 0.5}, chunk: 2}
compute: {threads: 1}
"""
SETTINGS = {
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "30s"
}  # more than a busy machine keeps a worker from its heartbeat
PATIENCE_SECONDS = 300


class Remote:
    """A scheduler and three workers, as processes."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._processes = folder, dict[str, subprocess.Popen]()
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{found.getsockname()[1]}"

    def start(self, what: str) -> None:
        host, port = self.address.removeprefix("tcp://").split(":")
        command = {
            "scheduler": ["-m", "dask", "scheduler", "--host", host, "--port", port, "--no-dashboard"],
            "workers": ["-c", "from tmrepro.cli import main; main()", "worker", self.address, "--nworkers", "3"],
        }[what]
        with (self._folder / f"{what}.log").open("a") as log:
            self._processes[what] = subprocess.Popen(
                [sys.executable, *command], stdout=log, stderr=log, env={**os.environ, **SETTINGS}
            )

    def stop(self, what: str, number: int = signal.SIGKILL) -> int:
        process = self._processes.pop(what)
        process.send_signal(number)
        return process.wait(timeout=60)

    def said(self, what: str) -> str:
        return (self._folder / f"{what}.log").read_text()

    def hit(self, task: str, blow: int) -> Callable[[], None]:
        """Send a signal to a worker that does such a task, as soon as one does; returns a function that waits for that."""
        thread = threading.Thread(target=self._hit, args=(task, blow), daemon=True)
        thread.start()

        def wait() -> None:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), f"no worker ever did a {task}"

        return wait

    def wait_for(self, task: str) -> int:
        """The process of a worker that does such a task."""
        from distributed import Client

        with Client(self.address, set_as_default=False, timeout=60) as client:
            while True:
                for worker, keys in client.processing().items():
                    if any(str(key).startswith(task) for key in keys):
                        return client.run(os.getpid, workers=[worker])[worker]
                time.sleep(0.005)

    def _hit(self, task: str, blow: int) -> None:
        os.kill(self.wait_for(task), blow)


@pytest.fixture(scope="module")
def remote(tmp_path_factory, _networks_importable) -> Iterator[Remote]:
    remote = Remote(tmp_path_factory.mktemp("remote"))
    remote.start("scheduler")
    remote.start("workers")
    yield remote
    for what in ("workers", "scheduler"):
        with contextlib.suppress(KeyError):
            remote.stop(what, signal.SIGTERM)


@pytest.fixture(scope="module")
def spread(write_spec) -> Path:
    return write_spec(text=SPEC)


@pytest.fixture(scope="module")
def alone(spread, start, fingerprint, tmp_path_factory) -> dict[str, object]:
    """What one process makes."""
    run = tmp_path_factory.mktemp("alone") / "run"
    command = start("run", spread, "--out", run, "--evaluator", "plain")
    assert command.wait() == 0, command.err
    return fingerprint(run)


@pytest.fixture
def begin(spread, start, remote, tmp_path):
    """Start the run with the workers."""
    return lambda: start(
        "run", spread, "--out", tmp_path / "run", "--evaluator", "plain", "--scheduler", remote.address
    )


@pytest.fixture
def assert_same(alone, fingerprint, tmp_path):
    def check(command) -> None:
        code = command.wait()
        assert code == 0, command.err
        assert "Traceback" not in command.err
        assert fingerprint(tmp_path / "run") == alone
        assert not (tmp_path / "run/.work").exists()

    return check


def test_local_workers(spread, start, assert_same, group_is_gone, tmp_path):
    command = start("run", spread, "--out", tmp_path / "run", "--evaluator", "plain", "--workers", 2)
    assert_same(command)
    assert group_is_gone(command.pid)


def test_workers_of_a_scheduler(begin, assert_same):
    assert_same(begin())


@pytest.mark.parametrize("task", ["TrainSlice", "EvaluateChunk"])
def test_a_worker_is_killed(task, begin, remote, assert_same):
    wait = remote.hit(task, signal.SIGKILL)
    command = begin()
    wait()
    assert_same(command)


@pytest.mark.parametrize("task", ["TrainSlice", "EvaluateChunk"])
def test_a_worker_hangs(task, begin, remote, assert_same):
    wait = remote.hit(task, signal.SIGSTOP)
    command = begin()
    wait()
    assert_same(command)


def test_the_scheduler_is_killed_and_started_again(begin, remote, assert_same):
    command = begin()
    remote.wait_for("TrainSlice")
    remote.stop("scheduler")
    remote.start("scheduler")
    assert_same(command)
    assert "the scheduler is gone; waiting" in command.err
    assert "the scheduler is there again" in command.err


def test_the_coordinator_is_killed_and_continued(begin, remote, assert_same):
    command = begin()
    remote.wait_for("EvaluateChunk")
    os.killpg(command.pid, signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL
    assert_same(begin())


def test_workers_join_late(begin, remote, assert_same):
    assert remote.stop("workers", signal.SIGTERM) == 143
    command = begin()
    time.sleep(3)
    remote.start("workers")
    assert_same(command)
