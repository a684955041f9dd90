"""A run folder from a stranger: whatever is in it, it ends with a word, and nothing but that folder knows of it.

A case is a folder, changed in ways that its seed draws, and a command that meets it. Each must end with success or an
error of ours, without a traceback, in time, below 2 GiB, without running code from it and without writing elsewhere.
"""

from __future__ import annotations

import sys

import pytest

CASES, IMAGE_CASES = 60, 80  # with those of the specs, hundreds; thousands in the soak
MISBEHAVIOUR = (
    None, "outside/new.txt: written", "outside/secret.txt: removed", "code in the case was executed", "ZeroDivisionError",
    "steers the terminal", "exit code 3 without a word", "MiB of memory", "the process ended", None,
)  # fmt: skip
SOAK_CASES = 5000


def test_the_harness_notices_whatever_misbehaves(meet, tmp_path):
    met = meet("misbehaving", first=0, count=len(MISBEHAVIOUR), template=tmp_path)

    assert met.cases == len(MISBEHAVIOUR)
    for number, expected in enumerate(MISBEHAVIOUR):
        wrong = [what for what in met.wrong if what.startswith(f"case {number} of misbehaving")]
        assert not wrong if expected is None else any(expected in what for what in wrong), (number, met.wrong)


def test_hostile_runs_end_with_a_word_and_harm_nothing(meet, finished):
    met = meet("runs", first=0, count=CASES, template=finished(K=5, chunk=3))

    assert not met.wrong, "\n\n".join(met.wrong)
    assert met.cases == CASES
    assert met.codes.keys() >= {0, 3}, "all cases end alike: they cannot have met much"


@pytest.mark.soak
def test_thousands_of_hostile_runs(meet, finished):
    met = meet("runs", first=CASES, count=SOAK_CASES, template=finished(K=5, chunk=3))

    sys.stdout.write(f"hostile runs: {met}\n")
    assert not met.wrong, f"{met}\n" + "\n\n".join(met.wrong)
    assert met.cases == SOAK_CASES


def test_hostile_image_folders_end_with_a_word_and_harm_nothing(meet, tmp_path):
    met = meet("images", first=0, count=IMAGE_CASES, template=tmp_path)

    assert not met.wrong, "\n\n".join(met.wrong)
    assert met.codes.keys() >= {0, 3}


@pytest.mark.soak
def test_thousands_of_hostile_image_folders(meet, tmp_path):
    met = meet("images", first=IMAGE_CASES, count=SOAK_CASES // 2, template=tmp_path)

    sys.stdout.write(f"hostile image folders: {met}\n")
    assert not met.wrong, f"{met}\n" + "\n\n".join(met.wrong)
