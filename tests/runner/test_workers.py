"""Whoever computes, and whatever happens to it: the run is the one that a single process makes, to the last bit.

Three real worker processes of one `tmrepro worker`, and a scheduler of Dask's own, which talk by TLS as docs/scale.md says.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import group_is_gone
from tests.support.runs import untimed
from tests.support.specs import write_spec

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
TTL = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "15s"}  # more than a busy machine keeps a worker from its heartbeat
PATIENCE_SECONDS = 300
CHUNK_IS_STORED = r"_replace .*/one/.*/loss/c/"
SCALE = Path(__file__).parents[2] / "docs/scale.md"


class Remote:
    """A scheduler and three workers, as processes; `certificates` is the folder of those of all sides."""

    def __init__(self, folder: Path, certificates: Path) -> None:
        self._folder, self._processes = folder, dict[str, subprocess.Popen]()
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.place = f"127.0.0.1:{found.getsockname()[1]}"
        self.address = f"tls://{self.place}"
        self._tls = [str(certificates / name) for name in ("ca.pem", "node.pem", "node.key")]
        self.variables = dict(zip(("TMREPRO_TLS_CA", "TMREPRO_TLS_CERT", "TMREPRO_TLS_KEY"), self._tls, strict=True))

    def start(self, what: str) -> None:
        (host, port), (ca, cert, key) = self.place.split(":"), self._tls
        tls = ["--tls-ca-file", ca, "--tls-cert", cert, "--tls-key", key]
        command = {
            "scheduler": ["-m", "dask", "scheduler", "--protocol", "tls", "--host", host, "--port", port, *tls],
            "workers": ["-c", "from tmrepro.cli import main; main()", "worker", self.address, "--nworkers", "3"],
        }[what]
        own = {"scheduler": ["--no-dashboard"], "workers": ["--data-dir", str(self._folder)]}[what]
        with (self._folder / f"{what}.log").open("a") as log:
            self._processes[what] = subprocess.Popen(
                [sys.executable, *command, *own], stdout=log, stderr=log, env={**os.environ, **self.variables, **TTL}
            )

    def has(self, what: str) -> bool:
        return what in self._processes

    def stop(self, what: str, number: int = signal.SIGKILL) -> int:
        process = self._processes.pop(what)
        process.send_signal(number)
        return process.wait(timeout=60)

    def hit(self, task: str, blow: int) -> Callable[[], None]:
        """Send a signal to a worker that does such a task, as soon as one does; returns a function that waits for that."""
        thread = threading.Thread(target=self._hit, args=(task, blow), daemon=True)
        thread.start()

        def wait() -> None:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), f"no worker ever did a {task}"

        return wait

    def wait_for(self, task: str, act: Callable[[Any, str], None] = lambda _client, _worker: None) -> None:
        """Wait until a worker does such a task; then call `act` with a client, and the worker's address."""
        from distributed import Client

        from tmrepro.runner.cluster import Link

        security = Link(self.address, None, *map(Path, self._tls)).security()
        with Client(self.address, security=security, set_as_default=False, timeout=60) as client:
            while True:
                for worker, keys in client.processing().items():
                    if any(str(key).startswith(task) for key in keys):
                        act(client, worker)
                        return
                time.sleep(0.005)

    def _hit(self, task: str, blow: int) -> None:
        def strike(client: Any, worker: str) -> None:
            os.kill(client.run(os.getpid, workers=[worker])[worker], blow)

        self.wait_for(task, strike)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """Made by the recipe of docs/scale.md."""
    folder = tmp_path_factory.mktemp("certificates")
    (recipe,) = re.findall(r"```sh\n(openssl.*?)```", SCALE.read_text(encoding="utf-8"), re.DOTALL)
    subprocess.run(["sh", "-ec", recipe], check=True, cwd=folder, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory, certificates, _networks_importable) -> Iterator[Remote]:
    """A scheduler that has no workers yet."""
    remote = Remote(tmp_path_factory.mktemp("remote"), certificates)
    remote.start("scheduler")
    yield remote
    for what in ("workers", "scheduler"):
        with contextlib.suppress(KeyError):
            remote.stop(what, signal.SIGTERM)


@pytest.fixture
def remote(scheduler) -> Remote:
    """The scheduler with its workers."""
    if not scheduler.has("workers"):
        scheduler.start("workers")
    return scheduler


@pytest.fixture(scope="module")
def spread(tmp_path_factory) -> Path:
    return write_spec(tmp_path_factory.mktemp("spec"), SPEC)


@pytest.fixture(scope="module")
def alone(spread, start, tmp_path_factory) -> dict[str, object]:
    """What one process makes."""
    run = tmp_path_factory.mktemp("alone") / "run"
    command = start("run", spread, "--out", run, "--evaluator", "plain")
    assert command.wait() == 0, command.err
    return untimed(run)


@pytest.fixture
def begin(spread, start, scheduler, tmp_path):
    """Start the run, for the workers of the scheduler."""
    arguments = ("run", spread, "--out", tmp_path / "run", "--evaluator", "plain", "--scheduler", scheduler.address)
    return lambda blow=None: start(*arguments, blow=blow, env=scheduler.variables)


@pytest.fixture
def assert_same(alone, tmp_path):
    def check(command) -> None:
        code = command.wait()
        assert code == 0, command.err
        assert "Traceback" not in command.err
        assert untimed(tmp_path / "run") == alone
        assert not (tmp_path / "run/.work").exists()

    return check


def test_local_workers(spread, start, assert_same, tmp_path):
    command = start("run", spread, "--out", tmp_path / "run", "--evaluator", "plain", "--workers", 2)
    assert_same(command)
    assert group_is_gone(command.pid)


def test_whatever_happens_to_them(begin, scheduler, assert_same):
    """One run; each of these alone is a test below."""
    # The coordinator is there first, then workers; one of them is killed, and the scheduler; then it is interrupted.
    command = begin(blow=(CHUNK_IS_STORED, 2, int(signal.SIGINT)))
    wait = scheduler.hit("TrainSlice", signal.SIGKILL)
    scheduler.start("workers")
    wait()
    scheduler.wait_for("TrainSlice")
    scheduler.stop("scheduler")
    scheduler.start("scheduler")
    assert command.wait() == 130
    assert "interrupted; the same command continues" in command.err
    assert "the scheduler is lost; waiting" in command.err
    assert "the scheduler is back" in command.err
    # It is killed.
    assert begin(blow=(CHUNK_IS_STORED, 3, int(signal.SIGKILL))).wait() == -signal.SIGKILL
    # A worker hangs.
    wait = scheduler.hit("EvaluateChunk", signal.SIGSTOP)
    command = begin()
    wait()
    assert_same(command)


def test_who_has_no_certificate_is_not_let_in(scheduler, spread, start, tmp_path):
    from distributed import Client

    with pytest.raises(OSError, match=r"Timed out|closed"):
        Client(f"tcp://{scheduler.place}", timeout=3, set_as_default=False)
    command = start("run", spread, "--out", tmp_path / "plain", "--scheduler", f"tcp://{scheduler.place}")
    assert command.wait() == 4
    assert "must use TLS if and only if" in command.err


@pytest.mark.soak
def test_workers_of_a_scheduler(begin, remote, assert_same):  # noqa: ARG001
    assert_same(begin())


@pytest.mark.soak
@pytest.mark.parametrize("task", ["TrainSlice", "EvaluateChunk"])
def test_a_worker_is_killed(task, begin, remote, assert_same):
    wait = remote.hit(task, signal.SIGKILL)
    command = begin()
    wait()
    assert_same(command)


@pytest.mark.soak
@pytest.mark.parametrize("task", ["TrainSlice", "EvaluateChunk"])
def test_a_worker_hangs(task, begin, remote, assert_same):
    wait = remote.hit(task, signal.SIGSTOP)
    command = begin()
    wait()
    assert_same(command)


@pytest.mark.soak
def test_the_scheduler_is_killed_and_started_again(begin, remote, assert_same):
    command = begin()
    remote.wait_for("TrainSlice")
    remote.stop("scheduler")
    remote.start("scheduler")
    assert_same(command)
    assert "the scheduler is lost; waiting" in command.err
    assert "the scheduler is back" in command.err


@pytest.mark.soak
def test_the_coordinator_is_killed_and_continued(begin, remote, assert_same):
    command = begin()
    remote.wait_for("EvaluateChunk")
    os.killpg(command.pid, signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL
    assert_same(begin())


@pytest.mark.soak
def test_workers_join_late(begin, remote, assert_same):
    assert remote.stop("workers", signal.SIGTERM) == 143
    command = begin()
    time.sleep(3)
    remote.start("workers")
    assert_same(command)
