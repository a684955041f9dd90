"""Lines of progress for notebooks: sparse, harmless, and there only where somebody looks."""

from __future__ import annotations

import sys
import types
from types import SimpleNamespace

import pytest

from tmrepro.records import Epoch
from tmrepro.reporting import progress
from tmrepro.reporting.progress import Lines, Reporter, Silent, default_reporter


@pytest.fixture
def clock(monkeypatch):
    """Time as the test says."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


def test_a_stage_of_hours_takes_few_lines(clock, capsys):
    lines = Lines()
    assert isinstance(lines, Reporter)
    lines.stage("surface/one/dnn", "runs", "not there yet")
    for points in range(1, 36001):  # ten hours
        clock.seconds += 1.0
        lines.chunk("one", "dnn", points_done=points, points=36000)
    said = capsys.readouterr().out.splitlines()
    assert said[:4] == [
        "surface/one/dnn: runs (not there yet)",
        "surface/one/dnn: 10 of 36000 points",
        "surface/one/dnn: 30 of 36000 points",
        "surface/one/dnn: 70 of 36000 points",
    ]
    assert 100 < len(said) < 140


def test_an_epoch_and_a_note_are_told(clock, capsys):
    lines = Lines()
    lines.stage("training/dnn", "continues", "6 epochs are there")
    lines.epoch("dnn", Epoch(7, 0.5, 0.9, 0.25, 0.9, 0.01, 3.0), seed=2, max_epochs=20)
    clock.seconds += 10
    lines.epoch("dnn", Epoch(8, 0.5, 0.9, 0.25, 0.9, 0.01, 3.5), seed=2, max_epochs=20)
    lines.note("two\nlines \x1b[31m")
    assert capsys.readouterr().out.splitlines() == [
        "training/dnn: continues (6 epochs are there)",
        "training/dnn: epoch 8 of at most 20, T 0.5, V 0.25, seed 2",
        "note: two",
        "lines \N{REPLACEMENT CHARACTER}[31m",
    ]


def ipython(shell: object) -> types.ModuleType:
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: shell
    return module


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (None, Silent),
        (types.ModuleType("IPython"), Silent),
        (ipython(None), Silent),
        (ipython(SimpleNamespace()), Silent),  # at a terminal
        (ipython(SimpleNamespace(kernel=object())), Lines),
    ],
)
def test_a_notebook_alone_is_told_unless_asked(monkeypatch, capsys, module, kind):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    if module is not None:
        monkeypatch.setitem(sys.modules, "IPython", module)
    reporter = default_reporter()
    assert type(reporter) is kind
    reporter.note("seen")
    assert capsys.readouterr().out == ("note: seen\n" if kind is Lines else "")
