"""Two commands on one folder: one works, the other says who is there and writes nothing; the folder is that of one run."""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from tests.runner.specs import SMALL_SPEC
from tests.support.processes import wait_until_stopped
from tests.support.specs import write_spec

SEED = 20260102
STOP, CONTINUE = int(signal.SIGSTOP), signal.SIGCONT
REFUSED = 2


def operations(log: Path) -> set[str]:
    return {line.split(" ")[1] for line in log.read_text().splitlines() if not line.startswith("unwatched")}


@pytest.mark.slow
def test_of_two_that_start_at_once_one_is_told_of_the_other(small, start, assert_same_in_the_end, tmp_path):
    rng = random.Random(SEED)  # noqa: S311
    for trial in range(5):
        run, laters = tmp_path / "run", [rng.uniform(0, 0.1) for _ in range(2)]
        logs = [tmp_path / f"log{trial}{number}" for number in range(2)]
        both = [
            start("run", small.spec, "--out", run, log=log, later=later)
            for log, later in zip(logs, laters, strict=True)
        ]
        codes = [command.wait() for command in both]
        told = f"seed {SEED}, trial {trial}, after {laters} s: {[command.err for command in both]}"
        assert sorted(codes) == [0, REFUSED], told
        loser = codes.index(REFUSED)
        assert f"another process (pid {both[1 - loser].pid}) is working in this folder" in both[loser].err, told
        # It may have made the folder, which is the other one's as well.
        assert operations(logs[loser]) <= {"begin", "_lock", "_mkdir", "_open", "_fsync", "end"}, told
        assert_same_in_the_end(run, told)
        shutil.rmtree(run)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "code", "words"),
    [
        (r"_replace .*/manifest-sha256", REFUSED, "another process (pid {pid})"),
        (r"_remove .*/\.work/lock", REFUSED, "another process (pid "),  # the number is no longer there
        (r"_rmdir .*/\.work", 0, "nothing to do"),
    ],
)
def test_second_command_comes_while_the_first_tidies_up(
    small, start, assert_same_in_the_end, tmp_path, place, code, words
):
    run = tmp_path / "run"
    first = start("run", small.spec, "--out", run, blow=(place, 1, STOP))
    wait_until_stopped(first.pid)
    second = start("run", small.spec, "--out", run)
    found = second.wait()
    os.kill(first.pid, CONTINUE)
    assert first.wait() == 0, first.err
    assert found == code, second.err
    assert words.format(pid=first.pid) in second.out + second.err
    assert_same_in_the_end(run, place)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("same", "code", "words"), [(True, 0, "nothing to do"), (False, REFUSED, "the run of another spec")]
)
def test_command_that_had_to_wait_for_the_lock_looks_again(
    small, start, assert_same_in_the_end, tmp_path, same, code, words
):
    """It found an empty folder, and gets the lock when another command has finished a run there."""
    run = tmp_path / "run"
    spec = small.spec if same else write_spec(tmp_path, SMALL_SPEC, ("K: 4", "K: 3"))
    slow = start("run", spec, "--out", run, blow=("_lock", 1, STOP))
    wait_until_stopped(slow.pid)
    quick = start("run", small.spec, "--out", run)
    assert quick.wait() == 0, quick.err
    os.kill(slow.pid, CONTINUE)
    assert slow.wait() == code, slow.err
    assert words in slow.out + slow.err
    assert_same_in_the_end(run, words)
