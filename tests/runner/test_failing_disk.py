"""A disk on which an operation fails, once or from then on: words of our own, and the same folder once it works again."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections import Counter

import pytest

from tests.support.processes import group_is_gone

STORAGE_ERROR = 4
ERRORS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EIO: os.strerror(errno.EIO),
}


@pytest.fixture
def trial(small, start, assert_same_in_the_end, tmp_path):
    """A run on a disk that fails, continued on one that works; False if it ended before the disk failed."""

    def run_trial(number: int, error: int, *, for_ever: bool) -> bool:
        run, log = tmp_path / "run", tmp_path / "log"
        command = start("run", small.spec, "--out", run, fail=(number, error, for_ever), log=log)
        code = command.wait()
        done = [line.split(" ", 1)[1] for line in log.read_text().splitlines() if not line.startswith("unwatched")]
        failed = done[number - 1] if number <= len(done) else "end "
        told = f"operation {number}: {failed}: {errno.errorcode[error]}, {'for ever' if for_ever else 'once'}"
        met = not failed.startswith("end ")
        said = command.out + command.err
        assert "Traceback" not in said, (told, said)
        assert code == (STORAGE_ERROR if met else 0), (told, code, said)
        if met:
            # The path that cannot be written, or one for which it was to be written.
            assert command.err.splitlines()[-1].startswith(f"error: {run}"), (told, command.err)
            assert ERRORS[error] in command.err, (told, command.err)
            kept = small.kept(run) if run.exists() else {}
            continued = start("run", small.spec, "--out", run)
            assert continued.wait() == 0, (told, continued.err)
            assert_same_in_the_end(run, told, kept=kept)
        shutil.rmtree(run)
        log.unlink()
        return met

    return run_trial


def test_everything_that_a_run_does_to_its_folder_is_watched(small):
    """So that these tests, and those of killed runs, leave nothing out."""
    assert small.unwatched == []
    kinds = Counter(what.split(" ")[0] for _, what in small.operations)
    assert set(kinds) == {
        "begin", "_lock", "_open", "_write", "_fsync", "_mkdir", "_replace", "_remove", "_rmdir", "end",
    }  # fmt: skip


@pytest.mark.slow
def test_run_survives_a_failing_disk(small, trial):
    last = len(small.operations) - 1  # the operation of that number is none, but the end
    numbers = [2 + (last - 2) * step // 7 for step in range(8)]
    for step, number in enumerate(numbers):
        error = list(ERRORS)[step % 2]
        assert trial(number, error, for_ever=step // 2 % 2 == 1), number
    assert not trial(last + 1, errno.EIO, for_ever=False)
    locks = next(number for number, (_, what) in enumerate(small.operations, 1) if what.startswith("_lock"))
    assert trial(locks, errno.ENOSPC, for_ever=True)


@pytest.mark.slow
def test_a_disk_that_is_full_while_workers_compute(small, start, assert_same_in_the_end, tmp_path):
    run = tmp_path / "run"
    chunk = next(number for number, (_, what) in enumerate(small.operations, 1) if "/one/norm/loss/c/" in what)
    command = start("run", small.spec, "--out", run, "--workers", 2, fail=(chunk, errno.ENOSPC, True))
    assert command.wait() == STORAGE_ERROR, command.err
    assert command.err.splitlines()[-1].startswith(f"error: {run}")
    assert ERRORS[errno.ENOSPC] in command.err
    assert "Traceback" not in command.err
    assert group_is_gone(command.pid)
    kept = small.kept(run)
    assert kept
    assert start("run", small.spec, "--out", run).wait() == 0
    assert_same_in_the_end(run, "full disk", kept=kept)


@pytest.mark.soak
@pytest.mark.parametrize("for_ever", [False, True])
def test_run_survives_the_failure_of_any_operation(trial, for_ever):
    number = 2
    while trial(number, list(ERRORS)[number % 2], for_ever=for_ever):
        number += 1
    how = "for ever" if for_ever else "once"
    sys.stdout.write(f"failing {how}: {number - 2} operations, {number - 2} refused in words, {number - 2} continued\n")
    assert number > 200


# Too few open files


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "limits"), [(1, range(3, 64, 3)), (2, (3, 9, 27, 81, 243))])
def test_too_few_open_files_are_named_and_cost_nothing(small, start, assert_same_in_the_end, tmp_path, workers, limits):
    """Some more each time, on the same folder: a run gets further and further, and keeps what it has."""
    run, kept, failures = tmp_path / "run", {}, 0
    for files in limits:
        command = start("run", small.spec, "--out", run, "--workers", workers, files=files)
        code = command.wait()
        said = command.out + command.err
        assert "Traceback" not in said, (files, said)
        if code == 0:
            break
        failures += 1
        assert code == STORAGE_ERROR, (files, code, said)
        assert "oo many open files" in said, (files, said)
        assert {path: (run / path).stat().st_ino for path in kept} == kept, files
        kept |= small.kept(run) if run.exists() else {}
    assert failures > 2
    assert_same_in_the_end(run, f"{files} files", kept=kept)
