"""A run gives the same folder every time, whoever computes it, and a finished folder is left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tmrepro
from tests.runner.specs import TINY_SPEC
from tests.support.recorder import Recorder
from tests.support.runs import untimed
from tests.support.specs import write_spec
from tmrepro.errors import UsageError


def state(run: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in [run, *run.rglob("*")]}


@pytest.mark.slow
def test_two_runs_agree_in_all_but_time(finished, spec, tmp_path):
    again = tmrepro.run(spec, out=tmp_path / "again").run
    assert untimed(again) == untimed(finished)


def test_timed_things_are_the_only_exceptions_of_that_comparison(finished, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    history = copy / "models/dnn/history.csv"
    lines = history.read_text().splitlines()
    lines[1] = lines[1].rsplit(",", 1)[0] + ",99.5"
    history.write_text("\n".join(lines) + "\n")
    minimum = copy / "models/dnn/minimum.json"
    document = json.loads(minimum.read_text())
    minimum.write_text(json.dumps({**document, "training_seconds": 99.5}))
    assert untimed(copy) == untimed(finished)
    minimum.write_text(json.dumps({**document, "train_loss_at_minimum": 99.5}))
    assert untimed(copy) != untimed(finished)


def test_second_run_does_nothing_and_touches_nothing(finished, spec):
    before = state(finished)
    recorder = Recorder()
    result = tmrepro.run(spec, out=finished, reporter=recorder)
    assert result.already_complete
    assert set(result.minima) == {"dnn", "cnn", "norm"}
    assert set(result.statistics["one"]) == {"dnn", "cnn", "norm"}
    assert (recorder.stages, recorder.epochs, recorder.chunks, recorder.notes) == ({}, [], [], [])
    assert state(finished) == before


def test_command_says_that_there_is_nothing_to_do(finished, spec, start):
    before = state(finished)
    command = start("run", spec, "--out", finished)
    assert command.wait() == 0, command.err
    assert "nothing to do" in command.out
    assert state(finished) == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (("K: 5", "K: 6"), "surfaces[0].grid.K"),
        (("widths: [8, 10]", "widths: [9, 10]"), "models[0].widths[0]"),
        (("max_epochs: 6", "max_epochs: 6, seed: 4"), "seed"),
    ],
)
def test_folder_of_another_spec_is_refused_by_the_first_field_that_differs(finished, tmp_path, change, field):
    before = state(finished)
    with pytest.raises(UsageError, match=r"holds the run of another spec") as refused:
        tmrepro.run(write_spec(tmp_path, TINY_SPEC, change), out=finished)
    assert field in str(refused.value)
    assert state(finished) == before


def test_folder_with_something_else_in_it_is_refused(spec, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="not empty and holds no run"):
        tmrepro.run(spec, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
