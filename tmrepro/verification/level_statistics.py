"""Level `statistics`: checks that the stored surfaces give the stored statistics and figures."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import torch

from tmrepro.comparison.contents import read_figure
from tmrepro.errors import ArtefactError
from tmrepro.runner.curvature import draw_spectra
from tmrepro.runner.documents import judge_run
from tmrepro.runner.drawings import draw_figures
from tmrepro.runner.outputs import Statistics, statistics_of
from tmrepro.runner.view import RunView
from tmrepro.store.atomic import safe_path
from tmrepro.store.documents import read_json
from tmrepro.store.run_files import CLAIMS, HISTORY, STATISTICS, model_file
from tmrepro.verification.curvature import check_slices
from tmrepro.verification.figures import grade_figure
from tmrepro.verification.grades import grade_number, worst
from tmrepro.verification.measured import check_depths, remarks_on_errors
from tmrepro.verification.platforms import drawn_alike, this_platform
from tmrepro.verification.verdict import Check, FigureComparison, NumberComparison, Remarks


def check_statistics(view: RunView, *, pdf: bool = True) -> tuple[list[Check], Remarks]:
    """Recompute statistics and figures from the surfaces, and compare the stored ones with them.

    A reference has no `pdf`.
    """
    try:
        computed = statistics_of(view.folder, view.surfaces)
        stored = view.statistics
        empty = [
            name for name in view.models if not view.history(name).epochs and view.minimum(name).category != "diverged"
        ]
    except ArtefactError as error:
        return [Check("statistics", STATISTICS, "damaged", str(error))], Remarks()
    if empty:
        return [Check("statistics", model_file(empty[0], HISTORY), "damaged", "it has no epoch")], Remarks()
    checks = _compare_statistics(stored, computed) + check_depths(view, computed) + check_slices(view)
    with tempfile.TemporaryDirectory(prefix="tmrepro-verify-") as folder:
        minima = {name: view.minimum(name) for name in view.models}
        draw_figures(view.folder, spec=view.spec, minima=minima, folder=Path(folder), write=_write)
        draw_spectra(view.folder, view.spec, folder=Path(folder), write=_write)
        figures, remarks = _compare_figures(view, Path(folder), pdf=pdf)
    claims, on_claims = _check_claims(view, computed)
    return checks + claims + figures, remarks + remarks_on_errors(view) + on_claims


def _compare_statistics(stored: object, computed: Statistics) -> list[Check]:
    names = {surface: set(models) for surface, models in computed.items()}
    if not isinstance(stored, dict) or names != {
        surface: set(models) if isinstance(models, dict) else None for surface, models in stored.items()
    }:
        return [Check("statistics", STATISTICS, "different", "other surfaces and models than those stored")]
    checks = []
    for surface, models in computed.items():
        for model, values in models.items():
            found = stored[surface][model]
            subject = f"statistics.json {surface}/{model}"
            if not isinstance(found, dict) or set(found) != set(values):
                checks.append(Check("statistics", subject, "different", "other statistics than those defined"))
                continue
            grades = {name: grade_number(found[name], values[name]) for name in values}
            grade = worst(grades.values())
            detail = f"{len(values)} statistics follow from the surface"
            if grade != "identical":
                name = next(key for key in grades if grades[key] == grade)
                detail = f"{name}: stored {found[name]}, the surface gives {values[name]}"
            held = tuple(
                NumberComparison.of((surface, model, name), found[name], values[name], grades[name]) for name in values
            )
            checks.append(Check("statistics", subject, grade, detail, numbers=held))
    return checks


def _check_claims(view: RunView, computed: Statistics) -> tuple[list[Check], Remarks]:
    """Judge the claims again, if the run has a claims.json for the present claims."""
    if not os.path.lexists(view.folder / CLAIMS):
        return [], Remarks()
    try:
        stored = read_json(safe_path(view.folder, CLAIMS), name=CLAIMS)
        judged = judge_run(
            view.folder,
            spec=view.spec,
            minima={name: view.minimum(name) for name in view.models},
            statistics=computed,
            provenance=view.provenance,
        )
    except ArtefactError as error:
        return [Check("statistics", CLAIMS, "damaged", str(error))], Remarks()
    found = None if judged is None else json.loads(judged.text())
    if found is not None and isinstance(stored, dict) and stored.get("claims") != found["claims"]:
        return [], Remarks(warnings=(f"not compared, because other claims were judged: {CLAIMS}",))
    if found is not None and stored == found:
        return [Check("statistics", CLAIMS, "identical", "the verdicts follow from the values")], Remarks()
    return [Check("statistics", CLAIMS, "different", "verdicts or numbers do not follow from the values")], Remarks()


def _compare_figures(view: RunView, drawn: Path, *, pdf: bool) -> tuple[list[Check], Remarks]:
    """Compare the stored figures with those in `drawn`."""
    checks, unknown = [], []
    platforms = drawn_alike(view.provenance, this_platform(view.spec, torch.device("cpu")))
    names = {path.name for path in drawn.iterdir() if pdf or path.suffix != ".pdf"}
    folder = safe_path(view.folder, "figures")
    extra = {path.name for path in folder.iterdir()} - names if folder.is_dir() else set()
    for name in sorted(names):
        relative = f"figures/{name}"
        try:
            stored = read_figure(view.folder, relative)
            expected, is_pdf = (drawn / name).read_bytes(), name.endswith(".pdf")
            grade, detail = grade_figure(stored, expected, pdf=is_pdf, exact=platforms.exact)
        except ArtefactError as error:
            checks.append(Check("statistics", relative, "damaged", str(error)))
            continue
        if grade is None:
            unknown.append(relative)
        else:
            figure = None if is_pdf else FigureComparison(relative, expected=expected, found=stored)
            checks.append(Check("statistics", relative, grade, f"redrawn: {detail}", figure=figure))
    checks += [
        Check("statistics", f"figures/{name}", "different", "unexpected figure: it does not follow from the surfaces")
        for name in sorted(extra)
    ]
    if not unknown:
        return checks, Remarks()
    versions = "; ".join(platforms.differences)
    return checks, Remarks(
        warnings=(
            f"not compared, because they were drawn with other versions of packages ({versions}): {', '.join(unknown)}",
        )
    )


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
