"""Recomputes points of a stored surface: by definition, and bit by bit with the recorded evaluator.

The plain evaluator shares no code with the faster ones, so a mistake in one of them cannot confirm itself. It agrees with them
within rounding. On the platform of the run, the recorded evaluator must be bitwise identical: at the same points if the bits
of a point do not depend on its chunk, otherwise in the whole chunks that contain them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tmrepro.errors import UsageError
from tmrepro.records import Grid, Surface
from tmrepro.surface import Evaluator, PlainEvaluator, Problem, choose
from tmrepro.surface.precision import LOWER
from tmrepro.verification.grades import ABSOLUTE, RELATIVE, Grade, grade_array, images_that_may_move, worst
from tmrepro.verification.rounding import Rounding

Points = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Sampled:
    """A stored surface on its grid in chunks, and the points (i, j) to check."""

    stored: Surface
    grid: Grid
    points: Points
    chunk: int


def check_points(
    problem: Problem, sampled: Sampled, *, recorded: str | None, exact: bool, rounding: Rounding
) -> tuple[Grade, str]:
    """Grade how well theta* gives the stored points. The text describes the first wrong one.

    `recorded` is the evaluator that the run names. `exact`: this platform should give bitwise identical results. `rounding` is
    the tolerance otherwise.
    """
    plainly = recorded in {None, PlainEvaluator.name}
    # For a lower precision whose bits are not promised: compare with what the run measured its own error against.
    in_float32 = problem.precision in LOWER and not (plainly and exact)
    definition = PlainEvaluator(replace(problem, precision="float32") if in_float32 else problem)
    again = _at_points(definition, sampled)
    by_plain = _grade(sampled, sampled.points, again, problem, exact=exact and plainly, rounding=rounding)
    if plainly or not exact or by_plain[0] == "different":
        return by_plain
    try:
        kind = choose(problem, forced=recorded).kind
    except UsageError as error:
        return by_plain[0], f"{by_plain[1]}; {error}"
    if kind.pointwise:
        points, again = sampled.points, _at_points(kind(problem), sampled)
    else:
        points, again = _in_chunks(kind(problem), sampled)
    grade, words = _grade(sampled, points, again, problem, exact=True, rounding=Rounding())
    where = "there" if kind.pointwise else f"in the {len(points)} points of their chunks"
    return grade, f"plain agrees; {kind.name} {where}: {words}"


def _at_points(evaluator: Evaluator, sampled: Sampled) -> np.ndarray:
    """Return losses and accuracies [2, n] at the sampled points, each evaluated alone."""
    again = np.empty((2, len(sampled.points)))
    for position, (i, j) in enumerate(sampled.points):
        loss, accuracy = evaluator.block(sampled.grid.a[i : i + 1], sampled.grid.b[j : j + 1])
        again[:, position] = loss[0, 0], accuracy[0, 0]
    return again


def _in_chunks(evaluator: Evaluator, sampled: Sampled) -> tuple[Points, np.ndarray]:
    """Return all points of the chunks that contain sampled points, and their losses and accuracies [2, n]."""
    K, size, grid = len(sampled.grid.a), sampled.chunk, sampled.grid
    points: list[tuple[int, int]] = []
    again = []
    for i, j in sorted({(i // size * size, j // size * size) for i, j in sampled.points}):
        rows, columns = range(i, min(i + size, K)), range(j, min(j + size, K))
        block = evaluator.block(grid.a[i : rows.stop], grid.b[j : columns.stop])
        points += [(row, column) for row in rows for column in columns]
        again.append(np.stack(block).reshape(2, -1))
    return tuple(points), np.concatenate(again, axis=1)


def _grade(
    sampled: Sampled, points: Points, again: np.ndarray, problem: Problem, *, exact: bool, rounding: Rounding
) -> tuple[Grade, str]:
    """Return the worst grade of losses and accuracies. If bits are not promised, a few images may change class."""
    at = tuple(np.array(points).T)
    images = len(problem.inputs)
    of_losses, moved = Rounding(), ABSOLUTE
    if not exact:
        of_losses, moved = rounding, images_that_may_move(images) / images + ABSOLUTE + rounding.accuracy
    grades = []
    for kept, found, name, absolute, relative in (
        (sampled.stored.loss[at], again[0], "loss", of_losses.absolute, of_losses.relative),
        (sampled.stored.accuracy[at], again[1], "accuracy", moved, RELATIVE),
    ):
        grade, _ = grade_array(kept, found, absolute=absolute, relative=relative)
        words = _first_wrong_point(name, points, kept, found, absolute=absolute, relative=relative)
        grades.append((grade, words))
    grade = worst(one for one, _ in grades)
    return grade, next(words for one, words in grades if one == grade)


def _first_wrong_point(
    name: str, points: Points, kept: np.ndarray, again: np.ndarray, *, absolute: float, relative: float
) -> str:
    """Describe the first point of the worst grade."""
    grades = [
        grade_array(kept[index : index + 1], again[index : index + 1], absolute=absolute, relative=relative)[0]
        for index in range(len(points))
    ]
    grade = worst(grades)
    if grade == "identical":
        return "recomputed from theta*, bitwise identical"
    index = grades.index(grade)
    i, j = points[index]
    return f"{name} at (i, j) = ({i}, {j}): stored {kept[index]:.9g}, theta* gives {again[index]:.9g}"
