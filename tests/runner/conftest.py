"""Runs of a small spec, as a user has them: through `tmrepro.run`, and through the command line in processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import tmrepro
from tmrepro.reporting.progress import Silent
from tmrepro.store.manifest import check_manifest
from tmrepro.store.stages import StageBook
from tmrepro.store.surfaces import chunk_slices
from tmrepro.store.zarr_files import chunk_key

HERE = Path(__file__).parent
NETWORKS = HERE / "networks"

# Three kinds of networks, one of them a user's own with buffers; nine chunks a surface, of four sizes.
SPEC = """
version: 1
name: tiny
data: {name: digits, train: 60, validation: 20, size: 8}
models:
  - {name: dnn, kind: dnn, widths: [8, 10]}
  - {name: cnn, kind: cnn, channels: [4, 10]}
  - {name: norm, kind: custom, factory: "tiny_networks:with_batch_norm", arguments: {width: 5}}
training: {batch_size: 20, warmup_steps: 2, max_epochs: 6}
surfaces:
  - {name: one, grid: {K: 5, step: 0.5}, chunk: 2}
compute: {threads: 1}
"""

# For hundreds of runs: one network, four chunks.
SMALL_SPEC = """
version: 1
name: small
data: {name: digits, train: 60, validation: 20, size: 8}
models:
  - {name: norm, kind: custom, factory: "tiny_networks:with_batch_norm", arguments: {width: 5}}
training: {batch_size: 20, warmup_steps: 2, max_epochs: 3}
surfaces:
  - {name: one, grid: {K: 4, step: 0.5}, chunk: 2}
compute: {threads: 1}
"""


@pytest.fixture(autouse=True, scope="session")
def _networks_importable() -> Iterator[None]:
    """The tests' own networks, here and in every process that is started."""
    sys.path.insert(0, str(NETWORKS))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(NETWORKS) + (f":{before}" if before else "")
    yield
    sys.path.remove(str(NETWORKS))
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


class Recorder(Silent):
    """Keeps what a run tells, in order."""

    def __init__(self) -> None:
        self.stages: dict[str, tuple[str, str]] = {}
        self.epochs: list[tuple[str, int]] = []
        self.chunks: list[tuple[str, str, int, int]] = []
        self.notes: list[str] = []

    def stage(self, name, action, reason):
        self.stages[name] = (action, reason)

    def epoch(self, model, epoch, *, seed, max_epochs):  # noqa: ARG002
        self.epochs.append((model, epoch.epoch))

    def chunk(self, surface, model, *, points_done, points):
        self.chunks.append((surface, model, points_done, points))

    def note(self, message):
        self.notes.append(message)

    def names(self, action: str) -> set[str]:
        return {name for name, (found, _) in self.stages.items() if found == action}


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="session")
def recorders() -> type[Recorder]:
    return Recorder


@pytest.fixture(scope="session")
def write_spec(tmp_path_factory) -> Callable[..., Path]:
    """A file with the small spec, pieces of its text replaced."""

    def write(*changes: tuple[str, str], text: str = SPEC) -> Path:
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path_factory.mktemp("spec") / "tiny.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def spec(write_spec) -> Path:
    return write_spec()


@pytest.fixture(scope="session")
def finished(spec, tmp_path_factory) -> Path:
    """A run of the small spec from start to end. Nobody may change it."""
    return tmrepro.run(spec, out=tmp_path_factory.mktemp("finished") / "run").run


@dataclass
class Command:
    """A command that was started: its process leads a group of its own."""

    pid: int
    server: subprocess.Popen
    out_path: Path
    err_path: Path

    def wait(self) -> int:
        """The exit code; minus the signal that ended it."""
        return _ask(self.server, {"wait": self.pid})["code"]

    @property
    def out(self) -> str:
        return self.out_path.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return self.err_path.read_text(encoding="utf-8")


def _ask(server: subprocess.Popen, request: dict) -> dict:
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return json.loads(server.stdout.readline())


def _environment() -> dict[str, str]:
    """That of this process, with NumPy's settings as they are in force here, where NumPy was loaded before they were made.

    They show in the pixels of figures.
    """
    from numpy._core._multiarray_umath import __cpu_features__ as features

    disabled = os.environ.get("NPY_DISABLE_CPU_FEATURES", "").split()
    if any(features.get(name) for name in disabled):
        return {name: value for name, value in os.environ.items() if not name.startswith(("NPY_", "OPENBLAS_"))}
    return dict(os.environ)


@pytest.fixture(scope="session")
def start(tmp_path_factory) -> Iterator[Callable[..., Command]]:
    """Start the command line: start("run", spec, ..., blow=(pattern, n, signal)); what else it takes: fork_server.py."""
    server = subprocess.Popen(
        [sys.executable, str(HERE / "fork_server.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=_environment(),
    )

    def start(*arguments, blow=None, fail=None, log=None, files=None, later=0, env=None) -> Command:
        folder = tmp_path_factory.mktemp("command")
        out, err = folder / "out", folder / "err"
        request = {
            "arguments": [str(argument) for argument in arguments],
            "env": {"TMREPRO_CHECKPOINT_SECONDS": "0", **(env or {})},
            "cwd": str(folder),
            "out": str(out),
            "err": str(err),
            "blow": None if blow is None else (*blow, 0)[:4],
            "fail": fail,
            "log": None if log is None else str(log),
            "files": files,
            "later": later,
        }
        return Command(_ask(server, request)["pid"], server, out, err)

    yield start
    server.stdin.close()
    server.stdout.close()
    server.wait(timeout=60)


@pytest.fixture(scope="session")
def fingerprint() -> Callable[[Path], dict[str, object]]:
    """What two runs of a spec must agree in: the manifest, where the design lets nothing differ in a file; else the rest."""

    def lines(run: Path) -> dict[str, object]:
        entries = (line.split("  ", 1) for line in (run / "manifest-sha256.txt").read_text().splitlines())
        found: dict[str, object] = {}
        for digest, path in entries:
            if path.endswith("history.csv"):
                found[path] = re.sub(r",[^,\n]*$", "", (run / path).read_text(), flags=re.MULTILINE)
            elif path.endswith("minimum.json"):
                document = json.loads((run / path).read_text())
                found[path] = {name: value for name, value in document.items() if not name.endswith("_seconds")}
            elif path in {"provenance.json", "ro-crate-metadata.json", "report.html", "claims.json"}:
                found[path] = None
            else:
                found[path] = digest
        return found

    return lines


def _members(group: int) -> list[str]:
    """What still runs of a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = stat.read_text().rpartition(")")
            state, _, leader, *_ = rest.split()
            if int(leader) == group and state != "Z":
                found.append(name)
    return found


@pytest.fixture(scope="session")
def group_is_gone() -> Callable[[int], bool]:
    """Whether nothing of a process group runs; multiprocessing's tracker, and a worker that only starts, end a moment later."""

    def is_gone(group: int) -> bool:
        for _ in range(1200):
            if not _members(group):
                return True
            select.select([], [], [], 0.05)
        return False

    return is_gone


@pytest.fixture(scope="session")
def wait_until_stopped() -> Callable[[int], None]:
    """Return when a process, which is to get SIGSTOP, has got it."""

    def wait(pid: int) -> None:
        for _ in range(2400):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                return
            select.select([], [], [], 0.05)
        pytest.fail("the process was not stopped")

    return wait


@dataclass(frozen=True)
class Small:
    """The smaller spec, a run of it that nothing disturbed, and what that did to the disk: (seconds, operation)."""

    spec: Path
    run: Path
    operations: list[tuple[float, str]]
    unwatched: list[str]

    def kept(self, run: Path) -> dict[str, int]:
        """The files that nobody may make again: of stages that are done, and of chunks whole in both arrays; with inodes."""
        paths = {path for record in StageBook(run).records() if record.complete for path in record.files}
        for index, _, _ in chunk_slices(4, 2):
            both = [f"surfaces.zarr/{chunk_key('one/norm', array, index)}" for array in ("loss", "accuracy")]
            # Judged by the undisturbed run, not by the code that decides what is computed again.
            if all(
                (run / path).exists() and (run / path).read_bytes() == (self.run / path).read_bytes() for path in both
            ):
                paths |= set(both)
        return {path: (run / path).stat().st_ino for path in sorted(paths)}


@pytest.fixture(scope="session")
def small(start, write_spec, tmp_path_factory) -> Small:
    folder = tmp_path_factory.mktemp("small")
    spec = write_spec(text=SMALL_SPEC)
    command = start("run", spec, "--out", folder / "run", log=folder / "log")
    assert command.wait() == 0, command.err
    lines = (folder / "log").read_text(encoding="utf-8").splitlines()
    timed = [line.partition(" ") for line in lines if not line.startswith("unwatched ")]
    return Small(
        spec,
        folder / "run",
        [(float(seconds), what) for seconds, _, what in timed],
        [line for line in lines if line.startswith("unwatched ") and f"{folder / 'run'}" in line],
    )


@pytest.fixture(scope="session")
def assert_same_in_the_end(small, fingerprint) -> Callable[..., None]:
    """The folder is what an undisturbed run leaves, to the last file and folder, and holds `kept` as it was."""

    def everything(run: Path) -> set[str]:
        return {path.relative_to(run).as_posix() for path in run.rglob("*")}

    def check(run: Path, told: str, *, kept: dict[str, int] | None = None) -> None:
        assert everything(run) == everything(small.run), told
        assert fingerprint(run) == fingerprint(small.run), told
        assert check_manifest(run) == [], told
        kept = kept or {}
        assert {path: (run / path).stat().st_ino for path in kept} == kept, told

    return check
