"""How well two minimum.json agree, field by field."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from tmrepro.records import Minimum
from tmrepro.verification.grades import Grade, grade_accuracy, grade_number, worst

DEPTH = "depth_below_minimum"
_SECONDS = "_seconds"  # the end of every field that is a duration, and so no two runs have in common


def grade_minimum(
    stored: Minimum, expected: Minimum, *, images: tuple[int, int], exact: bool, same_run: bool, other: str = "expected"
) -> tuple[Grade, str]:
    """Grade a record against the expected one; the words name the first field of the worst grade.

    `images` are the numbers of training and validation images. `exact`: one platform, so an accuracy is a number like any
    other. `same_run`: durations must agree too. `other` says in the words what the second record is.
    """
    ours, theirs = asdict(stored), asdict(expected)
    grades: dict[str, Grade] = {}
    for field in fields(Minimum):
        name = field.name
        # The depth of planes is a number of the surfaces, compared where their statistics are.
        if name in {"reason", DEPTH} or (name.endswith(_SECONDS) and not same_run):
            continue
        grades[name] = _grade_field(name, ours[name], theirs[name], images=images, exact=exact)
    grade = worst(grades.values())
    if grade == "identical" and stored.reason != expected.reason:  # words about numbers: they follow from those
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
