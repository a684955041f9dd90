"""Runs of the whole command line as other machines would do them: with one visible core, and on an emulated processor."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tmrepro.numerics.determinism import FOREIGN

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
# Convolutions of every shape that residual networks have, with batch norm, at the least batch that is trained channels last.
CHANNELS_LAST = """
import hashlib
from tmrepro.numerics.determinism import Determinism, apply, prepare
prepare(Determinism("portable", 2))
apply(Determinism("portable", 2))
import torch
from torch import nn
from tmrepro.spec import StopSpec, TrainingSpec
from tmrepro.training import Examples, train

def build(seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 7, stride=4, padding=3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
        nn.Conv2d(24, 24, 3, padding=1, groups=3), nn.BatchNorm2d(24), nn.ReLU(),
        nn.Conv2d(24, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )

inputs = torch.randn(140, 3, 32, 32, generator=torch.Generator().manual_seed(5))
labels = torch.arange(140) % 10
spec = TrainingSpec(batch_size=128, max_epochs=1, warmup_steps=0, reseeds=0, stop=StopSpec(at="never"))
trained = train(spec, build=build, examples=Examples(inputs, labels, inputs[:8], labels[:8], 10), seed=1)
digest = hashlib.sha256()
for value in trained.model.state_dict().values():
    digest.update(value.numpy().tobytes())
print(trained.memory_format, digest.hexdigest(), trained.history.train_losses.tolist())
"""
MINUTES = 60


def _emulated() -> list[str]:
    """An interpreter on an Intel Haswell, which has AVX2 and no AVX-512, whatever this machine is; [] without an emulator.

    The emulator runs the interpreter itself, not the link in the virtual environment, but Python must think it is the link.
    """
    qemu = shutil.which("qemu-x86_64")
    if qemu is None:
        return []
    return [qemu, "-cpu", "Haswell-noTSX", "-0", sys.executable, str(Path(sys.executable).resolve())]


EMULATED = _emulated()


@dataclass
class Started:
    """A command under way, which writes the run folder `out`."""

    process: subprocess.Popen[bytes]
    out: Path

    def finish(self) -> Path:
        code = self.process.wait(60 * MINUTES)
        assert code == 0, (self.out.parent / "said").read_text(encoding="utf-8")
        return self.out


def clean_environment() -> dict[str, str]:
    """The environment without what conftest set for this process: a command must find its own settings."""
    return {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}


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
def untimed() -> Callable[[Path], dict[str, object]]:
    """Everything in a run folder that must not depend on the machine, by path: an independent reading of design section 4."""

    def read(run: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        for line in (run / "manifest-sha256.txt").read_text(encoding="utf-8").splitlines():
            digest, path = line.split("  ", 1)
            if path in {"provenance.json", "ro-crate-metadata.json", "report.html", "claims.json"}:
                continue
            if path.endswith("history.csv"):
                found[path] = [row.rpartition(",")[0] for row in (run / path).read_text(encoding="utf-8").splitlines()]
            elif path.endswith("minimum.json"):
                document = json.loads((run / path).read_text(encoding="utf-8"))
                found[path] = {key: value for key, value in document.items() if not key.endswith("_seconds")}
            else:
                found[path] = digest
        return found

    return read


@pytest.fixture(scope="session")
def train_channels_last() -> Callable[[Sequence[str]], str]:
    """Trains with an interpreter and all before it; gives the layout, the hash of theta* and the losses as a line of text."""

    def train(before: Sequence[str]) -> str:
        done = subprocess.run(
            [*before, "-P", "-c", CHANNELS_LAST], env=clean_environment(), capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return train


@pytest.fixture(scope="session")
def trained_channels_last(
    train_channels_last: Callable[[Sequence[str]], str],
    start_emulated: Started | None,  # noqa: ARG001 - it begins first
) -> str:
    """That line, of this machine."""
    return train_channels_last([sys.executable])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs are long: `make soak` has them."""
    for item in items:
        if item.path == Path(__file__).parent / "test_same_bits_anywhere.py":
            item.add_marker(pytest.mark.soak)
