"""A process that meets hostile cases one after another and writes a line of JSON about each.

    python worker.py KIND SCRATCH TEMPLATE FIRST COUNT

KIND is the name of a module beside this one that builds cases, and the cases are those of the seeds FIRST ..
FIRST + COUNT - 1, so one that failed is met again alone. No test framework and no import hook: this is tmrepro as its
users run it. A line is written before a case begins, so that whoever waits knows which one never ended.
"""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import importlib
import io
import json
import os
import re
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from tmrepro.numerics.determinism import Determinism, prepare, settle

HANGS_SECONDS = 600  # by the clock: who waits for a pipe uses no processor, and a busy machine can starve the others
# Else the first case that needs them would be charged for them.
LOADED_FIRST = (
    "tmrepro.cli.main",
    "tmrepro.runner",
    "tmrepro.verification",
    "tmrepro.runner.view",
    "tmrepro.api.regenerate",
)
ENVIRONMENT: dict[str, str] = {}


def main() -> None:
    kind, scratch, template, first, count = sys.argv[1:]
    sys.argv = ["tmrepro"]
    settle()  # as the command line does before NumPy and torch are loaded; it must not need to start again later
    prepare(Determinism("portable", 2))
    ENVIRONMENT.update(os.environ)
    build = importlib.import_module(kind).build
    for name in LOADED_FIRST:
        importlib.import_module(name)
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    stacks = (Path(scratch) / "stacks.txt").open("w")
    for seed in range(int(first), int(first) + int(count)):
        home = Path(scratch) / f"case-{seed}"
        home.mkdir()
        lines.write(json.dumps({"seed": seed}) + "\n")
        faulthandler.dump_traceback_later(HANGS_SECONDS, exit=True, file=stacks)
        case = build(home, seed=seed, template=Path(template))
        lines.write(json.dumps({"seed": seed, "about": case.about, "argv": case.argv, **_meet(case)}) + "\n")
        faulthandler.cancel_dump_traceback_later()
        os.chdir(scratch)
        _remove(home)


def _meet(case) -> dict[str, object]:
    """What came of a case: exit code, output, cost, and everything about it that must not be."""
    os.environ.clear()  # of what libraries set since: the command line would start again without it
    os.environ.update({**ENVIRONMENT, "HOSTILE_MARKER": str(case.marker)})
    os.chdir(case.home / "cwd")
    writable = _writable(case)
    before = _snapshot(case.home, but=writable)
    _reset_peak()
    used, begun = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    code, output, trace = _run(case.argv, getattr(case, "command", _command))
    spent = resource.getrusage(resource.RUSAGE_SELF)
    after = _snapshot(case.home, but=writable)
    wrong = [
        f"{path}: {'changed' if path in before else 'written'}" for path in after if before.get(path) != after[path]
    ]
    wrong += [f"{path}: removed" for path in before if path not in after]
    if case.marker.exists():
        wrong.append("code in the case was executed")
    odd = sorted({character for character in output if not character.isprintable() and character != "\n"})
    if odd:
        wrong.append(f"steers the terminal with {odd}")
    if code not in {0, 1, 2, 3, 4}:
        wrong.append(f"exit code {code}")
    if code != 0 and not output.strip():
        wrong.append(f"exit code {code} without a word")
    return {
        "code": code, "wrong": wrong, "output": output[-2000:], "trace": trace[-4000:], "peak": _peak(),
        "seconds": time.monotonic() - begun,
        "cpu": spent.ru_utime + spent.ru_stime - used.ru_utime - used.ru_stime,
    }  # fmt: skip


def _run(argv: list[str], command: Callable[[list[str]], int]) -> tuple[int, str, str]:
    """Exit code, what was printed, and the traceback of whatever got out of the library or would have been called a bug."""
    output = io.StringIO()
    calls: dict[str, Callable[[list[str]], int]] = {"view": _view, "load": _load}
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            code = calls.get(argv[0], command)(argv)
        except BaseException as error:  # noqa: BLE001 - all of it is a finding
            return 70, f"{type(error).__name__}: {error}", traceback.format_exc()
    text = output.getvalue()
    if code == 70:
        return 70, text, _again_with_traceback(argv)
    return code, text, ""


def _again_with_traceback(argv: list[str]) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), contextlib.suppress(BaseException):
        _command([*argv, "--debug"])
    return output.getvalue()


def _command(argv: list[str]) -> int:
    from tmrepro.cli.main import main as command_line

    sys.argv = ["tmrepro", *argv]
    try:
        command_line()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _view(argv: list[str]) -> int:
    """Everything that `open_run` offers, one after another; the worst exit code of what refused."""
    from tmrepro.errors import TmreproError
    from tmrepro.runner.view import open_run

    worst = 0
    try:
        run = open_run(argv[1])
    except TmreproError as error:
        sys.stdout.write(f"{error}\n")
        return error.exit_code
    asked: list[Callable[[], object]] = [
        lambda: run.provenance, lambda: run.statistics, lambda: run.surfaces, run.inputs, run.original_labels,
    ]  # fmt: skip
    for model in run.models[:3]:
        asked += [lambda method=method, model=model: method(model)
                  for method in (run.minimum, run.history, run.labels, run.model)]  # fmt: skip
        asked += [lambda model=model: run.surface("s", model), lambda model=model: run.directions("s", model)]
        asked += [lambda model=model: run.directions("p", model), lambda model=model: run.trajectory(model)]
    for ask in asked:
        try:
            ask()
        except TmreproError as error:
            sys.stdout.write(f"{error}\n")
            worst = max(worst, error.exit_code)
    return worst


def _load(argv: list[str]) -> int:
    """The pictures of a folder, as a run would load them."""
    from tmrepro.data import load_dataset
    from tmrepro.errors import TmreproError
    from tmrepro.spec import DataSpec

    section = DataSpec(name=argv[2], size=8) if argv[2] == "images" else DataSpec(name=argv[2], train=20, validation=20)
    try:
        load_dataset(section, data_dir=Path(argv[1]))
    except TmreproError as error:
        sys.stdout.write(f"{error}\n")
        return error.exit_code
    return 0


def _writable(case) -> tuple[Path, ...]:
    """Where the command may write: what it was given to write into, and the folder that it was started in."""
    return (
        case.home / "cwd",
        *([case.run] if case.argv[0] in {"run", "curvature"} and str(case.run) in case.argv[:4] else []),
    )


def _snapshot(home: Path, *, but: tuple[Path, ...]) -> dict[str, object]:
    """Every path below `home` with what it is and holds, but those in the folders `but`."""
    return dict(_paths(home, home, but))


def _paths(folder: Path, home: Path, but: tuple[Path, ...]) -> Iterator[tuple[str, object]]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path, facts = Path(entry.path), entry.stat(follow_symlinks=False)
        if path in but:
            continue
        name = str(path.relative_to(home))
        if entry.is_symlink():
            yield name, str(path.readlink())
        elif entry.is_dir(follow_symlinks=False):
            yield name, "folder"
            with contextlib.suppress(OSError):  # deeper than a path can say
                yield from _paths(path, home, but)
        elif entry.is_file(follow_symlinks=False) and facts.st_size < 2**22:
            yield name, (facts.st_mode, facts.st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        else:
            yield name, (facts.st_mode, facts.st_mtime_ns, facts.st_size)


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """The most memory that was held since `_reset_peak`, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def _remove(home: Path) -> None:
    """Remove a case, also folders so deep that no path names them."""
    try:
        shutil.rmtree(home)
    except OSError:
        os.system(f"rm -rf '{home}'")  # noqa: S605 - a name of our own, and rm knows how


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
