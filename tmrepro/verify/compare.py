"""Does a run agree with a reference, or with another run of the same spec?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tmrepro.errors import ArtefactError
from tmrepro.store.atomic import read_bytes
from tmrepro.store.documents import load_history
from tmrepro.store.minima import read_minimum
from tmrepro.store.surfaces import read_surface
from tmrepro.store.tensors import load_tensors
from tmrepro.verify.grades import Band, grade_array, grade_number, worst
from tmrepro.verify.recompute import FIGURE_LIMIT_BYTES, grade_figure
from tmrepro.verify.verdict import Check, Grade, Level
from tmrepro.view import RunView

BandOf = Callable[[str, str, str], Band | None]


def compare_run(
    view: RunView, other: Path, *, level: Level, statistics: dict[str, Any], band: BandOf, replicate: bool
) -> list[Check]:
    """Hold a run against the folder `other` (a reference or a run of the same spec), part by part.

    With `replicate` only what another seed must agree in is compared: categories, and statistics within their bands.
    """
    checks = [_minimum(view, other, model, level=level, replicate=replicate) for model in view.models]
    for surface, model in view.surfaces:
        checks += _surface(
            view, other, surface, model, level=level, statistics=statistics, band=band, replicate=replicate
        )
    if not replicate:
        surfaces_agree = all(check.grade in {"identical", "equal"} for check in checks)
        checks += _figures(view.folder, other, level=level, surfaces_agree=surfaces_agree)
    return checks


def compare_weights(view: RunView, other: Path, *, level: Level) -> list[Check]:
    """Hold theta* of every model against that of another run."""
    checks = []
    for model in view.models:
        relative = f"models/{model}/theta.safetensors"
        ours, theirs = (load_tensors(folder / relative, name=relative) for folder in (view.folder, other))
        if set(ours) != set(theirs):
            checks.append(Check(level, relative, "different", "other tensors"))
            continue
        found = {name: grade_array(ours[name].astype("f8"), theirs[name].astype("f8")) for name in ours}
        grade = worst([one for one, _ in found.values()])
        name = next(name for name, (one, _) in found.items() if one == grade)
        detail = f"{len(found)} tensors, all bits" if grade == "identical" else f"{name} {found[name][1]}"
        checks.append(Check(level, relative, grade, detail))
    return checks


def _minimum(view: RunView, other: Path, model: str, *, level: Level, replicate: bool) -> Check:
    subject = f"models/{model}"
    try:
        ours, theirs = view.minimum(model), read_minimum(other, model)
        history = view.history(model)
        expected = load_history(other / "models" / model / "history.csv", name=f"{subject}/history.csv")
    except ArtefactError as error:
        return Check(level, subject, "damaged", str(error))
    said = f"{ours.category} after {ours.epochs} epochs, expected {theirs.category} after {theirs.epochs}"
    if ours.category != theirs.category:
        return Check(level, subject, "different", said)
    if replicate:
        return Check(level, subject, "consistent", said)
    grades: list[Grade] = ["identical" if ours.epochs == theirs.epochs else "different"]
    numbers = ("train_loss_at_minimum", "validation_loss", "relabelled_loss", "theta_norm")
    grades += [grade_number(getattr(ours, name), getattr(theirs, name)) for name in numbers]
    grade = worst(grades)
    if grade == "identical" and len(history.epochs) == len(expected.epochs):
        grade = worst([grade, grade_array(history.train_losses, expected.train_losses)[0]])
    if grade == "different":
        # Training magnifies rounding, so another platform ends elsewhere; what must agree then are the statistics.
        return Check(level, subject, "consistent", f"{said}; another point of the same category")
    return Check(level, subject, grade, said)


def _surface(
    view: RunView,
    other: Path,
    surface: str,
    model: str,
    *,
    level: Level,
    statistics: dict[str, Any],
    band: BandOf,
    replicate: bool,
) -> list[Check]:
    subject = f"{surface}/{model}"
    try:
        stored = view.statistics[surface][model]
        expected = statistics[surface][model]
    except KeyError:
        return [Check(level, subject, "different", "the other side has no such surface")]
    except ArtefactError as error:
        return [Check(level, subject, "damaged", str(error))]
    grades = {
        name: grade_number(stored.get(name), expected[name], band=band(surface, model, name)) for name in expected
    }
    grade = worst(list(grades.values()))
    of_statistics = [Check(level, f"statistics {subject}", grade, _summary(grades, dict(stored), expected))]
    if replicate:
        return of_statistics
    try:
        ours, theirs = read_surface(view.folder, surface, model)[0], read_surface(other, surface, model)[0]
    except ArtefactError as error:
        return [Check(level, f"surface {subject}", "damaged", str(error))]
    found = [grade_array(getattr(ours, name), getattr(theirs, name)) for name in ("loss", "accuracy", "a", "b")]
    of_arrays = worst([one for one, _ in found])
    detail = next(text for one, text in found if one == of_arrays)
    if of_arrays == "different" and grade == "consistent":
        of_arrays, detail = "consistent", f"{detail}; its statistics lie inside the measured bands"
    return [Check(level, f"surface {subject}", of_arrays, detail), *of_statistics]


def _summary(grades: dict[str, Grade], stored: dict[str, Any], expected: dict[str, Any]) -> str:
    grade = worst(list(grades.values()))
    if grade in {"identical", "equal"}:
        return f"{len(grades)} statistics"
    names = [name for name, one in grades.items() if one == grade]
    first = names[0]
    return f"{', '.join(names)} ({first}: {stored.get(first)}, expected {expected[first]})"


def _figures(folder: Path, other: Path, *, level: Level, surfaces_agree: bool) -> list[Check]:
    checks = []
    for path in sorted((other / "figures").glob("*.png")):
        relative = f"figures/{path.name}"
        try:
            ours = read_bytes(folder / relative, limit_bytes=FIGURE_LIMIT_BYTES, name=relative)
            theirs = read_bytes(path, limit_bytes=FIGURE_LIMIT_BYTES, name=relative)
        except ArtefactError as error:
            checks.append(Check(level, relative, "damaged", str(error)))
            continue
        grade, detail = grade_figure(ours, theirs, pdf=False)
        if grade == "different" and not surfaces_agree:
            grade, detail = "consistent", f"{detail}, as the surfaces do; it is drawn from what this run stores"
        checks.append(Check(level, relative, grade, detail.replace("drawn again: ", "")))
    return checks
