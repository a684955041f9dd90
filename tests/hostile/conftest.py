"""What the hostile tests share: finished runs to attack, and a process that meets cases so that none can harm the tests."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SPEC = """\
version: 1
name: tiny
data: {{name: digits, train: 20, validation: 10, size: 8}}
models: [{{name: dnn, kind: dnn, widths: [10]}}]
training: {{max_epochs: 2, warmup_steps: 1, batch_size: 10, reseeds: 0}}
surfaces: [{{name: s, grid: {{K: {K}}}, chunk: {chunk}}}]
"""
# The path of training, and directions that are stored because no seed gives them.
PATH = (
    ("reseeds: 0}", "reseeds: 0, trajectory: {weights: true}}"),
    ("}]\n", "}, {name: p, directions: {kind: pca}, grid: {K: 2}}]\n"),
)
COMMAND = "from tmrepro.cli import main; main()"
STALL_SECONDS = 660  # a little more than a worker allows a case
MEMORY_BYTES = 2**31
CPU_SECONDS = 60  # of one case; a whole honest run of this size takes ten


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Callable[..., Path]:
    """Makes a finished run of K x K points, once; the spec that it was made from stands beside it."""
    made: dict[tuple[int, int], Path] = {}

    def make(*, K: int, chunk: int) -> Path:
        if (K, chunk) not in made:
            home = tmp_path_factory.mktemp("finished")
            text = SPEC.format(K=K, chunk=chunk)
            for old, new in PATH if K > 2 else ():  # the smallest is for single bits, each of which is flipped
                assert text.count(old) >= 1
                text = new.join(text.rsplit(old, 1))
            (home / "tiny.yaml").write_text(text)
            run = [sys.executable, "-c", COMMAND, "run", str(home / "tiny.yaml"), "--out", str(home / "run"), "--quiet"]
            subprocess.run(run, check=True, cwd=home)
            if K > 2:
                bend = [sys.executable, "-c", COMMAND, "curvature", str(home / "run"), "--probes", "2", "--quiet"]
                subprocess.run(bend, check=True, cwd=home)
            made[K, chunk] = home / "run"
        return made[K, chunk]

    return make


@dataclass(frozen=True)
class Met:
    """What came of some cases: how many there were, the most that one of them cost, and all that went wrong."""

    cases: int
    peak_bytes: int
    cpu_seconds: float
    slowest_seconds: float
    codes: dict[int, int]
    wrong: list[str]

    def __str__(self) -> str:
        return (
            f"{self.cases} cases, {len(self.wrong)} wrong; at most {self.peak_bytes / 2**20:.0f} MiB and "
            f"{self.slowest_seconds:.1f} s of processor for one, {self.cpu_seconds:.0f} s for all; exit codes {self.codes}"
        )


@pytest.fixture
def meet(tmp_path) -> Callable[..., Met]:
    """Has the cases of `kind` with seeds first .. first + count - 1 met by workers; see worker.py."""

    def run(kind: str, *, first: int, count: int, template: Path) -> Met:
        reports: list[dict[str, Any]] = []
        wrong: list[str] = []
        seed = first
        while seed < first + count:
            found, fate = _meet(kind, tmp_path, template, seed, first + count - seed)
            reports += found
            seed = found[-1]["seed"] + 1 if found else seed
            if fate is not None:
                wrong.append(f"{_again(kind, seed)}: {fate}")
                seed += 1
        for report in reports:
            wrong += [f"{_again(kind, report['seed'])} ({report['about']}, {report['argv']}): {what}\n{report['output']}"
                      f"{report['trace']}" for what in _judged(report)]  # fmt: skip
        codes = [report["code"] for report in reports]
        return Met(
            cases=seed - first,
            peak_bytes=max(report["peak"] for report in reports),
            cpu_seconds=sum(report["cpu"] for report in reports),
            slowest_seconds=max(report["cpu"] for report in reports),
            codes={code: codes.count(code) for code in sorted(set(codes))},
            wrong=wrong,
        )

    return run


def _judged(report: dict[str, Any]) -> list[str]:
    """What is wrong with how a case went; where it went at all, what it cost."""
    costs = [f"{report['peak'] / 2**20:.0f} MiB of memory"] if report["peak"] > MEMORY_BYTES else []
    costs += [f"{report['cpu']:.0f} s of processor"] if report["cpu"] > CPU_SECONDS else []
    return [*report["wrong"], *costs]


def _again(kind: str, seed: int) -> str:
    return f"case {seed} of {kind}"


def _meet(kind: str, scratch: Path, template: Path, first: int, count: int) -> tuple[list[dict[str, Any]], str | None]:
    """The reports of one worker, and how it ended if that was before its time."""
    worker = [sys.executable, str(Path(__file__).with_name("worker.py")), kind, str(scratch), str(template)]
    errors = (scratch / "errors.txt").open("w")
    process = subprocess.Popen([*worker, str(first), str(count)], stdout=subprocess.PIPE, stderr=errors, text=True)
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process.stdout, lines))
    reader.start()
    reports, fate = [], None
    try:
        while (line := lines.get(timeout=STALL_SECONDS)) is not None:
            if "argv" in (report := json.loads(line)):
                reports.append(report)
    except queue.Empty:
        fate = "hangs, and nothing gets it out of it"
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()
        errors.close()
    if len(reports) < count and fate is None:
        stacks = (scratch / "stacks.txt").read_text()[-3000:]
        fate = f"the process ended ({process.wait()}): {stacks}{(scratch / 'errors.txt').read_text()[-3000:]}"
    return reports, fate


def _read(stream, lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)
