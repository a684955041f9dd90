"""Grades the agreement of two minimum.json, field by field."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from tmrepro.records import Minimum
from tmrepro.verification.grades import Grade, grade_accuracy, grade_number, worst

DEPTH = "depth_below_minimum"
_SECONDS = "_seconds"  # the end of the name of every duration; durations differ between runs


def grade_minimum(
    stored: Minimum, expected: Minimum, *, images: tuple[int, int], exact: bool, same_run: bool, other: str = "expected"
) -> tuple[Grade, str]:
    """Grade a record against the expected one. The text names the first field of the worst grade.

    `images` are the numbers of training and validation images. `exact`: one platform, so an accuracy is graded as a number.
    `same_run`: durations must agree too. `other` describes the second record in the text.
    """
    ours, theirs = asdict(stored), asdict(expected)
    grades: dict[str, Grade] = {}
    for field in fields(Minimum):
        name = field.name
        # The depths of planes are compared with the statistics of the surfaces.
        if name in {"reason", DEPTH} or (name.endswith(_SECONDS) and not same_run):
            continue
        grades[name] = _grade_field(name, ours[name], theirs[name], images=images, exact=exact)
    grade = worst(grades.values())
    if grade == "identical" and stored.reason != expected.reason:  # a text that follows from the numbers
        grade, grades["reason"] = "different", "different"
    if grade == "identical":
        return grade, f"{len(grades) + 1} fields"
    name = next(name for name, one in grades.items() if one == grade)
    return grade, f"{name}: stored {ours[name]}, {other} {theirs[name]}"


def _grade_field(name: str, ours: Any, theirs: Any, *, images: tuple[int, int], exact: bool) -> Grade:
    if isinstance(theirs, float) and name.endswith("accuracy") and not exact:
        return grade_accuracy(ours, theirs, images=images[1] if name.startswith("validation") else images[0])
    if isinstance(theirs, float):
        return grade_number(ours, theirs)
    return "identical" if ours == theirs else "different"
