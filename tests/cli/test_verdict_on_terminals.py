"""A verdict on terminals of all widths: words stay whole, and nothing is lost."""

from __future__ import annotations

import pytest

from tmrepro.cli.verdict import show_verdict
from tmrepro.verification import Check, Verdict
from tmrepro.verification.verdict import Remarks

WORDS = "every file is there and whole, and no other one lies beside it as far as anybody can see"
VERDICT = Verdict(
    "runs/x",
    "statistics",
    "x",
    (
        Check("integrity", "manifest-sha256.txt", "identical", WORDS),
        Check("statistics", "statistics.json paper/[dnn]", "different", "loss_max differs", "reference"),
    ),
    Remarks(notes=(WORDS,), warnings=(WORDS,)),
)


@pytest.mark.parametrize("columns", [40, 60, 99, 100, 200])
def test_words_stay_whole_and_lines_short(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    show_verdict(VERDICT)
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= columns
    words = set(told.split())
    asked = (
        f"{WORDS} integrity statistics identical different manifest-sha256.txt statistics.json paper/[dnn] reference:"
    )
    assert set(asked.split()) <= words
    assert told.count("different") >= 2
    assert "DIFFERENT: runs/x, level statistics" in " ".join(told.split())


def test_log_has_a_line_for_each_check_and_note(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    show_verdict(VERDICT)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "level",
        "integrity",
        "statistics",
        "note:",
        "WARNING:",
        "DIFFERENT:",
    ]
