"""A run that is killed at a random moment of any stage, also in the middle of computing, continues to the same folder."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sys
from collections import Counter
from dataclasses import dataclass

import pytest

from tests.support.processes import group_is_gone, wait_until_stopped

SEED = 20260101
KILL, TERM = int(signal.SIGKILL), int(signal.SIGTERM)
WORKERS_START_SECONDS = 3.0  # about as long as worker processes need before their first chunk

# By what is written next; a stage of computing ends with what it writes.
STAGES = {
    "start": r"/\.work/(holder|started\.json)$|/spec\.yaml$",
    "training": r"/checkpoints/|/theta\.safetensors$|/history\.csv$|/stages/training",
    "minimum": r"/labels\.npy$|/stages/minimum",
    "surfaces": r"/surfaces\.zarr/|/stages/surface",
    "closing": r"/(statistics|provenance|ro-crate-metadata)\.json$|/figures/|/stages/(planes|figures)|/report\.html$",
    "manifest": r"/manifest-sha256\.txt$",
}


@dataclass(frozen=True)
class Moment:
    """So many seconds after the beginning of an operation of the disk, the `number`-th of a run; the first is its begin."""

    stage: str
    number: int
    operation: str
    seconds: float


def stages_of(operations: list[tuple[float, str]]) -> list[str]:
    """The stage of each operation: that of the file which is put in its place next; after the last, its stage."""
    found, stage = [], "manifest"
    for _, what in reversed(operations):
        if what.startswith("_replace "):
            # minimum.json is written twice, each time before the record of the stage that it belongs to.
            early = stage if what.endswith("/minimum.json") else None
            stage = early or next(name for name, pattern in STAGES.items() if re.search(pattern, what))
        found.append(stage)
    return found[::-1]


def draw(rng: random.Random, operations: list[tuple[float, str]], stage: str) -> Moment:
    """A moment of a stage: every other time one of its seconds, else one of its operations, most of which are short."""
    seconds, stages = [at for at, _ in operations], stages_of(operations)
    gaps = {
        index: seconds[index + 1] - seconds[index] for index in range(len(seconds) - 1) if stages[index + 1] == stage
    }
    by_time = rng.random() < 0.5
    index = rng.choices(list(gaps), weights=list(gaps.values()) if by_time else None)[0]
    return Moment(stage, index + 1, operations[index][1], rng.uniform(0, gaps[index]))


def draw_with_workers(rng: random.Random, operations: list[tuple[float, str]]) -> Moment:
    """A moment while worker processes start, compute, or are about to end."""
    written = {
        number: what for number, (_, what) in enumerate(operations, 1) if re.match("_replace .*/one/norm/", what)
    }
    number = rng.choice(list(written))
    return Moment("surfaces", number, written[number], rng.uniform(0, WORKERS_START_SECONDS))


@pytest.fixture
def trial(small, start, assert_same_in_the_end, tmp_path):
    """One run, hit and continued: what became of it, "hit" or "finished" before that."""

    def hit(moment, told, *, workers, signal_number, ends) -> str:
        blow = ("", moment.number, signal_number, moment.seconds)
        command = start("run", small.spec, "--out", tmp_path / "run", "--workers", workers, blow=blow)
        code = command.wait()
        assert code in {ends, 0}, (told, code, command.err)
        assert "Traceback" not in command.err + command.out, told
        if code == 143:
            assert "terminated; the same command continues where it stopped" in command.err, told
        assert group_is_gone(command.pid), told
        return "finished" if code == 0 else "hit"

    def run_trial(number: int, *, signal_number=KILL, ends=-KILL) -> tuple[str, str]:
        run = tmp_path / "run"
        rng = random.Random(f"{SEED} {number} {signal_number}")  # noqa: S311
        stage = list(STAGES)[number % len(STAGES)]
        moments = [draw(rng, small.operations, stage)]
        workers = 2 if stage == "surfaces" and number // len(STAGES) % 2 == 1 else 1
        if workers > 1:
            moments = [draw_with_workers(rng, small.operations)]
        if number % 5 == 4:
            moments.append(draw(rng, small.operations, rng.choice(list(STAGES))))
        told = f"seed {SEED}, trial {number}, workers {workers}: {moments}"
        kept, outcomes = {}, []
        for moment in moments:
            outcomes.append(hit(moment, told, workers=workers, signal_number=signal_number, ends=ends))
            assert {path: (run / path).stat().st_ino for path in kept} == kept, told
            kept |= small.kept(run) if run.exists() else {}
        command = start("run", small.spec, "--out", run)
        assert command.wait() == 0, (told, command.err)
        assert_same_in_the_end(run, told, kept=kept)
        shutil.rmtree(run)
        return stage, outcomes[0]

    return run_trial


def run_trials(trial, numbers, **options) -> Counter[tuple[str, str]]:
    found = Counter(trial(number, **options) for number in numbers)
    for stage in STAGES:
        hit, finished = found[stage, "hit"], found[stage, "finished"]
        sys.stdout.write(
            f"{stage}: {hit + finished} trials, {hit} hit, {finished} finished before the blow, "
            f"{hit + finished} with the same manifest\n"
        )
    return found


def hits(found: Counter[tuple[str, str]]) -> int:
    return sum(count for (_, outcome), count in found.items() if outcome == "hit")


def test_stages_of_a_run_are_known_by_what_it_writes(small):
    stages = stages_of(small.operations)
    assert [stage for stage, before in zip(stages, [None, *stages], strict=False) if stage != before] == list(STAGES)
    assert small.operations[0][1].startswith("begin")
    assert small.operations[-1][1].startswith("end")
    assert min(Counter(stages).values()) > 5


@pytest.mark.slow
def test_run_killed_at_any_moment_continues_to_the_same_manifest(trial):
    assert hits(run_trials(trial, range(10))) >= 7


@pytest.mark.slow
def test_workers_do_not_outlive_a_process_that_is_killed_alone(small, start, assert_same_in_the_end, tmp_path):
    run, place = tmp_path / "run", r"_replace .*/one/norm/loss/c/"
    command = start("run", small.spec, "--out", run, "--workers", 2, blow=(place, 1, int(signal.SIGSTOP)))
    wait_until_stopped(command.pid)
    os.kill(command.pid, signal.SIGKILL)
    assert command.wait() == -KILL
    os.killpg(command.pid, signal.SIGCONT)
    assert group_is_gone(command.pid)
    command = start("run", small.spec, "--out", run)
    assert command.wait() == 0, command.err
    assert_same_in_the_end(run, "killed alone")


@pytest.mark.slow
def test_run_terminated_at_any_moment_says_so_and_continues(trial):
    assert hits(run_trials(trial, range(6), signal_number=TERM, ends=143)) >= 3


@pytest.mark.soak
def test_two_hundred_runs_are_killed_and_continue_to_the_same_manifest(trial):
    assert hits(run_trials(trial, range(200))) >= 140


@pytest.mark.soak
def test_sixty_runs_are_terminated_and_continue(trial):
    assert hits(run_trials(trial, range(60), signal_number=TERM, ends=143)) >= 30
