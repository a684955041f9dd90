"""The measured error of every surface: shown, compared with statistics.json, and measured again from theta*."""

from __future__ import annotations

from collections.abc import Iterable

from tmrepro.errors import UsageError
from tmrepro.records import SurfaceError
from tmrepro.runner.outputs import Statistics
from tmrepro.runner.planes import DEPTH, depths_of
from tmrepro.runner.view import RunView
from tmrepro.spec import expand_surfaces
from tmrepro.store.run_files import MINIMUM, model_file
from tmrepro.store.surfaces import read_facts
from tmrepro.surface import PlainEvaluator, Problem, choose
from tmrepro.surface.measured import ErrorMeter, Lattice, record
from tmrepro.surface.precision import LOWER
from tmrepro.verification.grades import Grade, as_number, grade_number, worst
from tmrepro.verification.points import Sampled
from tmrepro.verification.verdict import Check, Remarks

ERROR = "error_over_bound"
_MOST_LISTED = 8  # surfaces in one note; of more, the note has the largest error


def remarks_on_errors(view: RunView) -> Remarks:
    """Return the known errors of the surfaces: one note for those within the bound, a warning for each of the others.

    The error of a lower precision is no warning, because the spec requests that precision.
    """
    precisions = {drawn.name: drawn.spec.precision for drawn in expand_surfaces(view.spec)}
    within: dict[str, float] = {}
    notes: list[str] = []
    warnings: list[str] = []
    for surface, model in view.surfaces:
        error = read_facts(view.folder, surface, model).error
        if error is None:
            warnings.append(f"{surface}/{model}: its error against float64 was not measured")
        elif error.over_bound is not None and error.over_bound <= 1:
            within[f"{surface}/{model}"] = error.over_bound
        else:
            said = notes if precisions[surface] in LOWER else warnings
            said.append(f"{surface}/{model}: {error.note or f'{error.over_bound:.3g} times the bound'}")
    if within:
        notes.insert(0, f"error against float64 over 1e-5 (|S| + 0.01), where measured: {_listed(within)}")
    return Remarks(notes=tuple(notes), warnings=tuple(warnings))


def _listed(errors: dict[str, float]) -> str:
    if len(errors) <= _MOST_LISTED:
        return ", ".join(f"{name} {error:.2g}" for name, error in errors.items())
    largest = max(errors, key=errors.__getitem__)
    return f"at most {errors[largest]:.2g} ({largest}) in {len(errors)} surfaces; statistics.json has each"


def check_depths(view: RunView, computed: Statistics) -> list[Check]:
    """Check that each minimum.json has the depths that the surfaces give."""
    checks = []
    for model in view.models:
        stored, expected = view.minimum(model).depth_below_minimum, depths_of(computed, model)
        subject = model_file(model, MINIMUM)
        if set(stored) != set(expected):
            checks.append(
                Check("statistics", subject, "different", f"{DEPTH}: other surfaces than those of this model")
            )
            continue
        grades = {surface: grade_number(stored[surface], expected[surface]) for surface in expected}
        grade = worst(grades.values())
        detail = f"{len(expected)} depths below the minimum follow from the surfaces"
        if grade != "identical":
            surface = next(name for name in grades if grades[name] == grade)
            detail = f"{DEPTH} of {surface}: stored {stored[surface]}, the surface gives {expected[surface]}"
        checks.append(Check("statistics", subject, grade, detail))
    return checks


def check_error(
    problem: Problem,
    sampled: Sampled,
    stored: SurfaceError | None,
    *,
    recorded: str | None,
    exact: bool,
    same_bits: bool,
) -> tuple[Grade, str]:
    """Check a surface's error by measuring it again: from its own values, or, on the same platform, with its evaluator.

    `recorded` is the evaluator that the run names. `exact`: this platform should give bitwise identical results. If the sampled
    points differ by rounding although they should not (`same_bits` is false), the error differs too: two errors within the bound
    are equal.
    """
    if stored is None:
        return "different", "its error was not measured"
    meter = ErrorMeter(problem, _lattice(sampled))
    try:
        kind = choose(problem, forced=recorded or PlainEvaluator.name).kind
    except UsageError as error:
        return "identical", f"its error was not measured again: {error}"
    if not exact and not meter.needs_no_evaluator():
        return "identical", "its error was not measured again: on another platform the evaluator rounds differently"
    again = record(meter.after(kind, sampled.stored.loss), note=None)
    if (stored.points, stored.images) != (again.points, again.images):
        return "different", f"{ERROR}: measured at points {_shown(stored.points)}, expected {_shown(again.points)}"
    grade = grade_number(stored.over_bound, again.over_bound)
    both = (stored.over_bound, again.over_bound)
    if grade == "different" and exact and not same_bits and all(error is not None and error <= 1 for error in both):
        grade = "equal"
    return grade, f"{ERROR}: stored {stored.over_bound}, theta* gives {again.over_bound}"


def grade_error(found: object, expected: object) -> Grade | None:
    """Grade the error of another platform or seed. Two errors within the bound are equal, since rounding is not comparable.

    Return None if the expected error is over the bound too, or one of them is undefined.
    """
    ours, theirs = as_number(found), as_number(expected)
    if ours is None or theirs is None:
        return None
    if ours <= max(1.0, theirs):
        return "equal"
    return "different" if theirs <= 1 else None


def _lattice(sampled: Sampled) -> Lattice:
    """Return the points of a stored surface."""
    grid = sampled.grid
    return Lattice(grid.a, grid.b, grid.home, min(sampled.chunk, len(grid.a)))


def _shown(points: Iterable[tuple[int, int]]) -> str:
    return ", ".join(str(point) for point in points) or "none"
