"""Runs of the whole command line as other machines would do them: with one visible core, and on an emulated processor."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.portable.interpreters import CHANNELS_LAST, EMULATED, clean_environment, train_channels_last

# The paper's CNN is large enough that torch splits its sums among threads, and that instruction sets show.
SMALL = """
version: 1
name: small
data: {name: digits, train: 48, validation: 16, size: 16}
models:
  - {name: dnn, kind: dnn}
  - {name: cnn, kind: cnn}
training: {batch_size: 16, max_epochs: 2, warmup_steps: 2, reseeds: 0, stop: {at: never}}
surfaces:
  - {name: paper, grid: {K: 3}}  # the fewest points that are tracked
"""
COMMAND = "from tmrepro.cli import main; main()"
AND_THEN = """
from tmrepro.cli import main
try:
    main()
except SystemExit as end:
    if end.code:
        raise
{}"""
MINUTES = 60


@dataclass
class Started:
    """A command under way, which writes the run folder `out`."""

    process: subprocess.Popen[bytes]
    out: Path

    def finish(self) -> Path:
        code = self.process.wait(60 * MINUTES)
        assert code == 0, (self.out.parent / "said").read_text(encoding="utf-8")
        return self.out


@pytest.fixture(scope="session")
def small_spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def start_command(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Started]:
    """Starts a spec through the command line; `before` is the interpreter and all before it, `variables` its environment's.

    `then` is run in the same process, which saves a minute of imports under emulation.
    """

    def start(
        spec: Path,
        *,
        before: Sequence[str] = (sys.executable,),
        variables: Mapping[str, str] | None = None,
        then: str = "",
    ) -> Started:
        out = tmp_path_factory.mktemp("run") / "run"
        with (out.parent / "said").open("w", encoding="utf-8") as said:
            process = subprocess.Popen(
                [
                    *before,
                    "-P",
                    "-c",
                    AND_THEN.format(then) if then else COMMAND,
                    "run",
                    str(spec),
                    "--out",
                    str(out),
                    "--quiet",
                ],
                env=clean_environment() | dict(variables or {}),
                stdout=said,
                stderr=said,
            )
        return Started(process, out)

    return start


@pytest.fixture(scope="session")
def run_command(start_command: Callable[..., Started]) -> Callable[..., Path]:
    """Starts a spec, waits for its end, and gives the run folder."""
    return lambda spec, **how: start_command(spec, **how).finish()


@pytest.fixture(scope="session")
def start_emulated(small_spec: Path, start_command: Callable[..., Started]) -> Iterator[Started | None]:
    """The small spec and a training under emulation, begun before all else, since they take longest; None without emulator."""
    started = start_command(small_spec, before=EMULATED, then=CHANNELS_LAST) if EMULATED else None
    yield started
    if started is not None and started.process.poll() is None:
        started.process.kill()
        started.process.wait()


@pytest.fixture(scope="session")
def all_cores(small_spec: Path, run_command: Callable[..., Path], start_emulated: Started | None) -> Path:  # noqa: ARG001
    """The small spec, run here with nothing special. Nobody may change it."""
    return run_command(small_spec)


@pytest.fixture(scope="session")
def one_core() -> list[str]:
    taskset = shutil.which("taskset")
    if taskset is None:
        pytest.skip("needs taskset, of util-linux")
    return [taskset, "-c", str(min(os.sched_getaffinity(0))), sys.executable]


@pytest.fixture(scope="session")
def emulated() -> list[str]:
    if not EMULATED:
        pytest.skip("needs qemu-x86_64, of Debian's qemu-user")
    return EMULATED


@pytest.fixture(scope="session")
def trained_channels_last(start_emulated: Started | None) -> str:  # noqa: ARG001 - it begins first
    """What `train_channels_last` gives on this machine."""
    return train_channels_last([sys.executable])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs are long: `make soak` has them."""
    for item in items:
        if item.path == Path(__file__).parent / "test_same_bits_anywhere.py":
            item.add_marker(pytest.mark.soak)
