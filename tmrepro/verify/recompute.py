"""Level `statistics`: do the stored surfaces give the stored statistics and figures?"""

from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib as mpl

from tmrepro.errors import ArtefactError
from tmrepro.figures import compare_png
from tmrepro.pipeline.closing import Statistics, draw_figures, statistics_of
from tmrepro.store.atomic import read_bytes, safe_path
from tmrepro.verify.grades import PIXELS_DIFFERENT, grade_number, worst
from tmrepro.verify.verdict import Check, Grade
from tmrepro.view import RunView

FIGURE_LIMIT_BYTES = 2**26


def check_statistics(view: RunView) -> list[Check]:
    """Recompute statistics and figures from the surfaces, and hold the stored ones against them."""
    try:
        computed = statistics_of(view.folder, view.surfaces)
        stored = view.statistics
    except ArtefactError as error:
        return [Check("statistics", "statistics.json", "damaged", str(error))]
    return [*_compare_statistics(stored, computed), *_compare_figures(view)]


def _compare_statistics(stored: object, computed: Statistics) -> list[Check]:
    checks = []
    if not isinstance(stored, dict) or {name: set(models) for name, models in stored.items()} != {
        name: set(models) for name, models in computed.items()
    }:
        return [Check("statistics", "statistics.json", "different", "not the surfaces and models that are stored")]
    for surface, models in computed.items():
        for model, values in models.items():
            found = stored[surface][model]
            subject = f"statistics.json {surface}/{model}"
            if not isinstance(found, dict) or set(found) != set(values):
                checks.append(Check("statistics", subject, "different", "not the statistics that are defined"))
                continue
            grades = {name: grade_number(found[name], values[name]) for name in values}
            grade = worst(list(grades.values()))
            detail = f"{len(values)} statistics follow from the surface"
            if grade != "identical":
                name = next(key for key in grades if grades[key] == grade)
                detail = f"{name}: stored {found[name]}, the surface gives {values[name]}"
            checks.append(Check("statistics", subject, grade, detail))
    return checks


def _compare_figures(view: RunView) -> list[Check]:
    checks = []
    drawn_with = view.provenance.get("packages", {}).get("matplotlib")
    with tempfile.TemporaryDirectory() as folder:
        draw_figures(
            view.folder,
            spec=view.spec,
            minima={name: view.minimum(name) for name in view.models},
            folder=Path(folder),
            write=_write,
        )
        for path in sorted(Path(folder).iterdir()):
            relative = f"figures/{path.name}"
            try:
                stored = read_bytes(safe_path(view.folder, relative), limit_bytes=FIGURE_LIMIT_BYTES, name=relative)
            except ArtefactError as error:
                checks.append(Check("statistics", relative, "damaged", str(error)))
                continue
            grade, detail = grade_figure(stored, path.read_bytes(), pdf=path.suffix == ".pdf")
            if grade == "different" and drawn_with != mpl.__version__:
                detail += f" (drawn with matplotlib {drawn_with}, checked with {mpl.__version__})"
            checks.append(Check("statistics", relative, grade, detail))
    return checks


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def grade_figure(stored: bytes, expected: bytes, *, pdf: bool) -> tuple[Grade, str]:
    """Grade a picture: by its bytes, then by its pixels."""
    if stored == expected:
        return "identical", "drawn again: the same bytes"
    if pdf:
        return "different", "drawn again: other bytes"
    difference = compare_png(expected, stored)
    if difference.identical:
        return "identical", "drawn again: the same pixels"
    detail = f"{difference.share_different:.2%} of the pixels differ"
    return ("equal" if difference.same_size and difference.share_different <= PIXELS_DIFFERENT else "different"), detail
