"""What is computed in a process of its own is what would be computed here, and its end is the caller's to see."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tmrepro
from tests.support.processes import is_gone
from tests.support.specs import write_spec
from tmrepro import api
from tmrepro.api.isolation import caller, child
from tmrepro.api.isolation.messages import load_error
from tmrepro.errors import ComputeError, DivergedError, UsageError
from tmrepro.reporting.progress import Silent
from tmrepro.runner.execute import RunResult
from tmrepro.store.curvature import read_curvature

SPEC = """
version: 1
name: tiny
data: {name: digits, train: 60, validation: 20, size: 8}
models:
  - MODEL
training: {batch_size: 20, warmup_steps: 2, max_epochs: 4}
surfaces:
  - {name: one, grid: {K: 3, step: 0.5}, chunk: 2}
compute: {threads: 1}
"""


def spec_of(folder: Path, factory: str = "own_networks:talking", arguments: str = "{}") -> Path:
    """Write a spec of one network, which a factory makes."""
    model = f'{{name: own, kind: custom, factory: "{factory}", arguments: {arguments}}}'
    return write_spec(folder, SPEC, ("MODEL", model))


class Recorder(Silent):
    """Keeps what is told, but for times. What comes first has other names than in the protocol, as anybody's may."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def stage(self, what, doing, why):
        self.told.append(("stage", what, doing, why))

    def epoch(self, network, row, *, seed, max_epochs):
        self.told.append(("epoch", network, dataclasses.replace(row, seconds=0.0), seed, max_epochs))

    def chunk(self, plane, network, *, points_done, points):
        self.told.append(("chunk", plane, network, points_done, points))

    def note(self, text):
        self.told.append(("note", text))


class Stopping(Silent):
    """Ctrl-C in the middle of a training."""

    def epoch(self, model, epoch, *, seed, max_epochs):  # noqa: ARG002
        if epoch.epoch == 2:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def started(monkeypatch) -> list[subprocess.Popen]:
    """The processes that were started to compute."""
    found, start = [], caller._start

    def watched(*args, **kwargs):
        found.append(start(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr(caller, "_start", watched)
    return found


def without_times(result):
    """A RunResult but for its folder, and for what no two runs have in common."""
    minima = {}
    for name, minimum in result.minima.items():
        times = {field.name: 0.0 for field in dataclasses.fields(minimum) if field.name.endswith("_seconds")}
        minima[name] = dataclasses.replace(minimum, **times)
    return dataclasses.replace(result, run=Path(), minima=minima)


def weights(run: Path) -> dict[str, bytes]:
    kept = ("theta.safetensors", "labels.npy", "statistics.json")
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.name in kept} | {
        str(path.relative_to(run)): path.read_bytes() for path in run.glob("surfaces.zarr/**/c/*/*")
    }


@dataclasses.dataclass(frozen=True)
class Computed:
    """A run that was computed here, and what was told of it."""

    spec: Path
    result: RunResult
    told: list[tuple[object, ...]]


@pytest.fixture(scope="session")
def here(tmp_path_factory) -> Computed:
    spec, recorder = spec_of(tmp_path_factory.mktemp("spec")), Recorder()
    result = tmrepro.run(spec, out=tmp_path_factory.mktemp("here") / "run", reporter=recorder)
    return Computed(spec, result, recorder.told)


@pytest.mark.usefixtures("too_late")
def test_a_run_of_its_own_process_is_the_run(here, tmp_path, started, capfd):
    before, recorder = dict(os.environ), Recorder()
    found = tmrepro.run(tmrepro.load_spec(here.spec), out=tmp_path / "there", reporter=recorder)
    assert [process.returncode for process in started] == [0]
    assert dict(os.environ) == before
    assert type(found) is type(here.result)
    assert without_times(found) == without_times(here.result)
    assert found.run == tmp_path / "there"
    assert weights(found.run) == weights(here.result.run)
    assert recorder.told == here.told
    assert {told[0] for told in recorder.told} == {"stage", "epoch", "chunk", "note"}
    said = capfd.readouterr()
    assert "said by the factory: \N{GREEK SMALL LETTER THETA}\n" in said.out
    assert "and to standard error\n" in said.err


@pytest.mark.usefixtures("too_late")
def test_a_reference_is_built_and_a_spec_verified_against_it(here, tmp_path, started, monkeypatch):
    shutil.copytree(here.result.run, tmp_path / "runs/0")
    reference = api.build_reference(here.spec, to=tmp_path / "reference", runs=tmp_path / "runs")
    assert reference == tmp_path / "reference"
    found = tmrepro.verify(here.result.run, level="rerun", reference=reference, trust_code=True)
    assert [process.returncode for process in started] == [0, 0]
    assert found.passed
    assert found.grade == "identical"
    assert {check.level for check in found.checks} == {"integrity", "statistics", "audit", "rerun"}
    assert any(check.figure is not None and check.figure.found for check in found.checks)
    assert found.provenance is not None
    monkeypatch.undo()
    expected = tmrepro.verify(here.result.run, level="statistics", reference=reference)
    assert tuple(check for check in found.checks if check.level in {"integrity", "statistics"}) == expected.checks


@pytest.mark.usefixtures("too_late")
def test_curvature_is_measured_by_one_process(here, tmp_path, started):
    run = tmp_path / "run"
    shutil.copytree(here.result.run, run)
    found, there = api.measure_curvature(run, samples=20, top=1, probes=2, density_probes=0, trust_code=True)
    assert [process.returncode for process in started] == [0]
    assert not there
    assert found == {"own": read_curvature(run, "own")}
    assert isinstance(found["own"].eigenvalues, tuple)


@pytest.mark.usefixtures("too_late")
def test_statistics_need_no_other_process(here, started):
    assert tmrepro.verify(here.result.run, level="statistics").passed
    assert tmrepro.open_run(here.result.run).surface("one", "own").loss.shape == (3, 3)
    assert not started


@pytest.mark.usefixtures("too_late")
def test_errors_are_those_of_the_computation(tmp_path):
    spec = spec_of(tmp_path)
    text = spec.read_text(encoding="utf-8").replace("max_epochs", "optimizer: {name: sgd, lr: 1e30}, max_epochs")
    spec.write_text(text, encoding="utf-8")
    with pytest.raises(DivergedError, match=r"(?s)own: .*what could be computed is in") as caught:
        tmrepro.run(spec, out=tmp_path / "run")
    assert caught.value.exit_code == 4


@pytest.fixture
def _interruptible():
    """Python's own handler of ctrl-C, which it has not where a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("too_late", "_interruptible")
def test_an_interrupt_ends_the_process_and_the_folder_continues(here, tmp_path, started, monkeypatch, capfd):
    with pytest.raises(KeyboardInterrupt):
        tmrepro.run(here.spec, out=tmp_path / "run", reporter=Stopping())
    assert [process.returncode for process in started] == [-signal.SIGINT]
    assert "Traceback" not in "".join(capfd.readouterr())
    assert (tmp_path / "run/spec.yaml").exists()
    assert not (tmp_path / "run/manifest-sha256.txt").exists()
    monkeypatch.undo()
    tmrepro.run(here.spec, out=tmp_path / "run")
    assert weights(tmp_path / "run") == weights(here.result.run)


@pytest.mark.usefixtures("too_late")
def test_a_process_that_is_killed_is_a_clear_error(tmp_path):
    said = "was ended by SIGKILL, most likely because memory was not enough; the same call continues"
    with pytest.raises(ComputeError, match=said):
        tmrepro.run(spec_of(tmp_path, "own_networks:killed"), out=tmp_path / "run")


@pytest.mark.usefixtures("too_late")
def test_a_process_that_leaves_is_a_clear_error_and_what_it_started_is_not_waited_for(tmp_path):
    told = tmp_path / "pid"
    with pytest.raises(ComputeError, match=r"ended with exit code 3 and no result; .*its last output: gone for good"):
        tmrepro.run(spec_of(tmp_path, "own_networks:leaving", f'{{told: "{told}"}}'), out=tmp_path / "run")
    os.kill(int(told.read_text(encoding="utf-8")), signal.SIGKILL)  # it was there all the time


def ending() -> None:
    sys.exit("enough")


def failing() -> None:
    raise ZeroDivisionError("by zero")


@pytest.mark.parametrize(
    ("function", "kind", "said"),
    [
        (ending, ComputeError, "code that the spec names ended the program (sys.exit('enough'))"),
        (failing, ZeroDivisionError, "by zero"),
    ],
)
def test_what_code_raises_is_told(function, kind, said, monkeypatch):
    def called(*, reporter):  # noqa: ARG001
        function()

    monkeypatch.setattr(api, "called", called, raising=False)
    answer = child._compute({"function": "called", "arguments": {}}, reporter=Silent())
    error = load_error(answer["error"])
    assert (type(error), str(error)) == (kind, said)


@pytest.mark.usefixtures("too_late")
def test_a_factory_of_the_notebook_itself_is_refused(tmp_path, started):
    with pytest.raises(UsageError, match=re.escape("put it into a file that can be imported")) as caught:
        tmrepro.run(spec_of(tmp_path, "__main__:make"), out=tmp_path / "run")
    assert "'networks:make'" in str(caught.value)
    assert not started
    assert not (tmp_path / "run").exists()


PROGRAM = """
import sys, types
sys.path.insert(0, {here!r})
sys.modules["torch"] = types.ModuleType("torch")  # enough to say that it is loaded, and quicker
import tmrepro
tmrepro.run({spec!r}, out={out!r})
"""


def test_a_caller_that_is_killed_takes_its_process_along(tmp_path):
    told = tmp_path / "pid"
    spec = spec_of(tmp_path, "own_networks:waiting", f'{{told: "{told}"}}')
    program = PROGRAM.format(here=str(Path(__file__).parent), spec=str(spec), out=str(tmp_path / "run"))
    plain = {name: value for name, value in os.environ.items() if name != "ATEN_CPU_CAPABILITY"}
    process = subprocess.Popen([sys.executable, "-c", program], env=plain)
    until = time.monotonic() + 120
    while not (told.exists() and told.read_text(encoding="utf-8")) and time.monotonic() < until:
        time.sleep(0.05)
    pid = int(told.read_text(encoding="utf-8"))
    assert not is_gone(pid)
    process.kill()
    process.wait()
    while not is_gone(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert is_gone(pid)
