"""Runs of a small spec, as a user has them: through `tmrepro.run`, and through the command line in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import tmrepro
from tests.runner.specs import SMALL_SPEC, TINY_SPEC
from tests.support.runs import untimed
from tests.support.specs import write_spec
from tmrepro.store.manifest import check_manifest
from tmrepro.store.stages import StageBook
from tmrepro.store.surfaces import chunk_slices
from tmrepro.store.zarr_files import chunk_key

HERE = Path(__file__).parent
NETWORKS = HERE / "networks"


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


@pytest.fixture(scope="session")
def spec(tmp_path_factory) -> Path:
    return write_spec(tmp_path_factory.mktemp("spec"), TINY_SPEC)


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
def small(start, tmp_path_factory) -> Small:
    folder = tmp_path_factory.mktemp("small")
    spec = write_spec(folder, SMALL_SPEC)
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
def assert_same_in_the_end(small) -> Callable[..., None]:
    """The folder is what an undisturbed run leaves, to the last file and folder, and holds `kept` as it was."""

    def everything(run: Path) -> set[str]:
        return {path.relative_to(run).as_posix() for path in run.rglob("*")}

    def check(run: Path, told: str, *, kept: dict[str, int] | None = None) -> None:
        assert everything(run) == everything(small.run), told
        assert untimed(run) == untimed(small.run), told
        assert check_manifest(run) == [], told
        kept = kept or {}
        assert {path: (run / path).stat().st_ino for path in kept} == kept, told

    return check
