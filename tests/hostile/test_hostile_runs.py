"""A run folder from a stranger: whatever is in it, it ends with a word, and nothing but that folder knows of it.

A case is a folder, changed in ways that its seed draws, and a command that meets it. Each must end with success or an
error of ours, without a traceback, in time, below 2 GiB, without running code from it and without writing elsewhere.
"""

from __future__ import annotations

import pytest

CASES = 150
SOAK_CASES = 5000


def test_hostile_runs_end_with_a_word_and_harm_nothing(meet, finished):
    met = meet("runs", first=0, count=CASES, template=finished(K=5, chunk=3))

    assert not met.wrong, "\n\n".join(met.wrong)
    assert met.cases == CASES
    assert met.codes.keys() >= {0, 3}, "all cases end alike: they cannot have met much"


@pytest.mark.soak
def test_thousands_of_hostile_runs(meet, finished):
    met = meet("runs", first=CASES, count=SOAK_CASES, template=finished(K=5, chunk=3))

    assert not met.wrong, f"{met}\n" + "\n\n".join(met.wrong)
    assert met.cases == SOAK_CASES


def test_hostile_image_folders_end_with_a_word_and_harm_nothing(meet, tmp_path):
    met = meet("images", first=0, count=CASES, template=tmp_path)

    assert not met.wrong, "\n\n".join(met.wrong)
    assert met.codes.keys() >= {0, 3}


@pytest.mark.soak
def test_thousands_of_hostile_image_folders(meet, tmp_path):
    met = meet("images", first=CASES, count=SOAK_CASES // 2, template=tmp_path)

    assert not met.wrong, f"{met}\n" + "\n\n".join(met.wrong)
