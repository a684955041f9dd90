"""What a check rests on: the numbers and pictures that were held against each other.

A check says in a line what was found. Whoever doubts it wants the numbers, their bands and both pictures: they travel with
the check, so that the page, the JSON and the JUnit file tell the same facts. Pictures travel as bytes, because a rerun's
folder is gone when its verdict is told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tmrepro.statistics import Value
from tmrepro.verify.bands import Band
from tmrepro.verify.grades import as_number
from tmrepro.verify.words import Against, Grade


@dataclass(frozen=True)
class NumberHeld:
    """A statistic of a surface, or a number of a minimum (`surface` is None), and the value expected of it.

    A value of None is undefined, and a grade of None says that nobody can judge it: it differs, and has no band.
    """

    surface: str | None
    model: str
    name: str
    value: Value
    expected: Value
    grade: Grade | None
    band: Band | None = None


@dataclass(frozen=True)
class FigureHeld:
    """A figure, PNG, and the one expected; None where that side has none that could be read."""

    name: str
    expected: bytes | None = field(repr=False)
    found: bytes | None = field(repr=False)
    against: Against = "itself"


@dataclass(frozen=True)
class Sides:
    """The provenance of the run, and that of what it was held against; `other` says which that is."""

    run: Mapping[str, Any]
    expected: Mapping[str, Any] | None = None
    other: Against | None = None


def hold_number(
    place: tuple[str | None, str, str], value: object, expected: object, grade: Grade | None, band: Band | None = None
) -> NumberHeld:
    """Hold two values of (surface, model, name) against each other; what is no number in a stranger's file is undefined."""
    return NumberHeld(*place, _number(value), _number(expected), grade, band)


def _number(value: object) -> Value:
    number = as_number(value)
    if number is None or not math.isfinite(number):
        return None
    return value if isinstance(value, int) else number
