"""What people see: tables that fit a terminal of 80 columns, and how long it still takes."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from tests.support.records import a_minimum
from tmrepro.cli import display
from tmrepro.records import Epoch
from tmrepro.statistics import STATISTICS

MINIMUM = a_minimum(
    model="resnet50",
    category="collapsed",
    reason="the network predicts the same for every image",
    epochs=200,
    train_loss_at_minimum=1.2345e-05,
    validation_loss=None,
    relabelled_loss=1.2345e-10,
    validation_accuracy=1.0,
    training_seconds=12345.6,
)


def epoch(number: int, seconds: float) -> Epoch:
    return Epoch(number, 0.123456, 0.5, float("inf"), 0.5, 0.01, seconds)


def test_closing_tables_fit_80_columns_and_show_what_is_asked(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    values = {info.name: -1.2345e-05 for info in STATISTICS} | {"half_rise_radius": None}
    display.closing_table(
        Path("runs/[odd]/paper"),
        minima={"resnet50": MINIMUM, "dnn": replace(MINIMUM, model="dnn", category="TM")},
        statistics={"paper": {"resnet50": values, "dnn": values}},
    )
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if not line.startswith(("figure", "report", "resnet50 is not"))]
    assert max(map(len, told)) <= 80
    row = next(line for line in lines if line.startswith("resnet50"))
    assert row.split() == ["resnet50", "collapsed", "200", "12345.6", "1.23e-05", "-", "1.23e-10", "100.0%"]
    assert "resnet50 is not a minimum: the network predicts the same for every image" in lines
    assert "figure  runs/[odd]/paper/figures/paper.png" in lines
    assert "report  runs/[odd]/paper/report.html" in lines


def test_statistics_of_the_table_exist():
    assert set(display.TABLE_STATISTICS) <= {info.name for info in STATISTICS}
    assert all(heading.replace("\n", "") == name for name, heading in display.TABLE_STATISTICS.items())


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (61.6, "1:02"), (3599.7, "1:00:00"), (90000.0, "25:00:00")]
)
def test_duration(seconds, text):
    assert display.duration(seconds) == text


@pytest.fixture
def clock(monkeypatch):
    """The time that the display sees."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(display, "time", SimpleNamespace(monotonic=lambda: Clock.now))
    return Clock


def test_lines_come_at_intervals_with_the_time_left(capsys, clock):
    with display.make_reporter(quiet=False) as reporter:
        reporter.stage("training/dnn", "runs", "not there yet")
        for number in range(1, 6):
            clock.now += 9
            # The first epoch has twice the time of the others: something was compiled.
            reporter.epoch("dnn", epoch(number, 9.0 * (number + 1)), seed=3, max_epochs=11)
    assert capsys.readouterr().err.splitlines() == [
        "training/dnn: starting",
        "training/dnn: epoch 2 of at most 11, T 0.123 V inf, seed 3",
        "training/dnn: epoch 4 of at most 11, T 0.123 V inf, seed 3, at most 1:03 left",
    ]


def test_stages_under_way_together_share_a_line_until_they_end(capsys, clock):
    with display.make_reporter(quiet=False) as reporter:
        for name in ("training/dnn", "training/cnn", "surface/one/norm"):
            reporter.stage(name, "runs", "not there yet")
        capsys.readouterr()
        reporter.epoch("dnn", epoch(1, 1.0), seed=3, max_epochs=11)
        reporter.epoch("cnn", epoch(2, 1.0), seed=3, max_epochs=11)
        clock.now += 11
        reporter.chunk("one", "norm", points_done=4, points=25)
        reporter.ended("training/dnn")
        reporter.ended("surface/one/norm")
        clock.now += 11
        reporter.epoch("cnn", epoch(3, 2.0), seed=3, max_epochs=11)
    assert capsys.readouterr().err.splitlines() == [
        "training/dnn epoch 1/11 T 0.123 V inf; training/cnn epoch 2/11 T 0.123 V inf; surface/one/norm 4/25 points",
        "training/cnn: epoch 3 of at most 11, T 0.123 V inf, seed 3",
    ]


def test_a_hundred_stages_under_way_still_take_one_line(capsys, clock):
    with display.make_reporter(quiet=False) as reporter:
        for number in range(100):
            reporter.stage(f"training/dnn.r{number}", "runs", "not there yet")
            reporter.epoch(f"dnn.r{number}", epoch(1, 1.0), seed=3, max_epochs=11)
        capsys.readouterr()
        clock.now += 11
        reporter.epoch("dnn.r0", epoch(2, 1.0), seed=3, max_epochs=11)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("; and 94 more")


def test_each_stage_under_way_has_a_bar_of_its_own():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with display.bars(console) as reporter:
        for name in ("training/dnn", "surface/one/cnn"):
            reporter.stage(name, "runs", "not there yet")
        reporter.epoch("dnn", epoch(1, 1.0), seed=3, max_epochs=11)
        reporter.chunk("one", "cnn", points_done=4, points=25)
        shown = {task.description: task.fields["detail"] for task in reporter._progress.tasks}
        assert shown == {"training/dnn": "epoch 1/11 T 0.123 V inf", "surface/one/cnn": "4/25 points"}
        reporter.ended("training/dnn")
        assert [task.description for task in reporter._progress.tasks] == ["surface/one/cnn"]


def test_why_a_stage_is_made_again_is_said(capsys):
    with display.make_reporter(quiet=False) as reporter:
        reporter.stage("figures", "runs", "inputs changed: minima")
        reporter.stage("claims", "continues", "was interrupted")
    assert capsys.readouterr().err.splitlines() == [
        "figures: runs (inputs changed: minima)",
        "claims: continues (was interrupted)",
    ]


def test_time_left_is_said_only_when_there_is_enough_to_base_it_on():
    pace = display.Pace()
    assert [pace.left(done, 100, now=now) for done, now in ((1, 60.0), (2, 61.0), (3, 62.0), (4, 64.0))] == [""] * 4
    assert (
        pace.left(6, 100, now=65.0) == "1:34"
    )  # five in five seconds, 94 to go; the first, with its minute, is left out
    # A training that starts again with another seed counts from its own first epoch.
    assert pace.left(1, 100, now=66.0) == ""
    assert pace.left(2, 100, now=166.0) == ""
    assert pace.left(3, 100, now=266.0) == "2:41:40"


def test_time_left_of_a_surface_counts_what_this_run_has_done(capsys, clock):
    with display.make_reporter(quiet=False) as reporter:
        reporter.stage("surface/one/dnn", "continues", "was interrupted")
        reporter.chunk("one", "dnn", points_done=900, points=1000)
        clock.now += 20
        reporter.chunk("one", "dnn", points_done=910, points=1000)
        clock.now += 20
        reporter.chunk("one", "dnn", points_done=920, points=1000)
    # Ten points took 20 seconds; the 900 were there before.
    assert capsys.readouterr().err.splitlines()[-1] == "surface/one/dnn: 920 of 1000 points, 2:40 left"


def test_quiet_is_silent(capsys):
    with display.make_reporter(quiet=True) as reporter:
        reporter.stage("training/dnn", "runs", "not there yet")
        reporter.note("something")
    assert capsys.readouterr() == ("", "")


def test_bars_fit_80_columns_and_end_with_their_stage(clock):
    console = Console(file=io.StringIO(), force_terminal=True, width=80, highlight=False, color_system=None)
    with display.bars(console) as reporter:
        reporter.stage("training/resnet50.r12", "runs", "a reason [with] brackets")
        clock.now += 1
        for number in (121, 122, 123):
            reporter.epoch("resnet50.r12", epoch(number, number * 100.0), seed=3, max_epochs=200)
        reporter._progress.refresh()
        reporter.stage("figures", "reused", "same inputs")
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())
    assert "a reason [with] brackets" in shown
    assert "epoch 123/200 T 0.123 V inf, <2:08:20 left" in shown
    assert "reused    figures  same inputs" in shown
    assert max(len(line) for line in re.split(r"[\r\n]", shown)) <= 80


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_that_is_told_steers_the_terminal(terminal, monkeypatch):
    told = io.StringIO()
    if terminal:
        reporters = display.bars(Console(file=told, force_terminal=True, color_system=None, width=200))
    else:
        monkeypatch.setattr("sys.stderr", told)
        reporters = display.make_reporter(quiet=False)
    with reporters as reporter:
        reporter.note("a\x1b[31mred is missing there")
        reporter.stage("training/dnn", "reused", "as b\x1b]0;title\x07 in c")
    assert "a\\x1b[31mred is missing" in told.getvalue()
    assert "\x1b[31m" not in told.getvalue()
    assert "\x1b]0" not in told.getvalue()
