"""Compares a run with a reference, or with another run of the same spec.

On one platform the same spec is bitwise identical, so only `identical` and, with a warning, `equal` pass. Another
platform rounds differently, training magnifies the differences, and another seed gives another training. Only then
a number inside a measured band is `consistent`. A number without a band cannot be `consistent`; a warning names the
numbers that are not judged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tmrepro.comparison.contents import history_values, read_figure, surface_values
from tmrepro.errors import ArtefactError
from tmrepro.records import FAILED
from tmrepro.runner.view import RunView
from tmrepro.spec import expand_surfaces, surfaces_around
from tmrepro.statistics import COMPARED_NUMBERS, never_banded
from tmrepro.store.atomic import safe_path
from tmrepro.store.curvature import spectrum_stem
from tmrepro.store.documents import load_history
from tmrepro.store.minima import read_minimum
from tmrepro.store.run_files import HISTORY, THETA, TRAJECTORY, model_file
from tmrepro.store.tensors import load_tensors
from tmrepro.store.trajectories import load_trajectory
from tmrepro.verification.bands import Band, Bands
from tmrepro.verification.code import compare_code
from tmrepro.verification.figures import grade_figure
from tmrepro.verification.grades import (
    ABSOLUTE,
    Grade,
    grade_arrays,
    grade_number,
    images_that_may_move,
    worst,
)
from tmrepro.verification.measured import ERROR, grade_error
from tmrepro.verification.minimum_check import grade_minimum
from tmrepro.verification.paths import grade_path
from tmrepro.verification.platforms import compare_platforms, drawn_alike
from tmrepro.verification.rounding import Rounding, rounding_between
from tmrepro.verification.scales import JUDGES_NOTHING
from tmrepro.verification.verdict import Against, Check, FigureComparison, Level, NumberComparison, Remarks, Sides

_GRID = ("loss", "accuracy", "axis a", "axis b")


@dataclass(frozen=True)
class Side:
    """What a run is compared with: a reference, or another run of the same spec. `bands` if they were measured."""

    folder: Path
    statistics: Mapping[str, Any]
    provenance: Mapping[str, Any]
    bands: Bands | None
    kind: Against


class Comparison:
    """A run compared with a `Side`, part by part. With `replicate`, only what does not depend on the seed is compared."""

    def __init__(self, view: RunView, other: Side, *, level: Level, replicate: bool) -> None:
        self.view, self.other, self.level, self.replicate = view, other, level, replicate
        self.platforms = compare_platforms(view.provenance, other.provenance)
        measured = other.bands is not None and other.bands.measured
        self.bands = other.bands if measured and (replicate or not self.platforms.exact) else None
        self.unjudged: list[str] = []
        self.idle: list[str] = []
        self.shown: list[FigureComparison] = []

    def checks(self) -> list[Check]:
        """Return the checks of code, data, minima, surfaces and their statistics, and figures."""
        code = compare_code(self.view.provenance, self.other.provenance, spec=self.view.spec, level=self.level)
        checks = [*code, self._data()]
        for model in self.view.models:
            checks += [self._minimum(model), *self._path(model)]
        theirs = {(surface, model) for surface, models in self.other.statistics.items() for model in models}
        for surface, model in dict.fromkeys([*self.view.surfaces, *sorted(theirs)]):
            checks += self._surface(surface, model)
        if self.replicate:
            self._show_figures()
        else:
            checks += self._figures({check.grade for check in checks})
        return self._against(checks)

    def weights(self) -> list[Check]:
        """Return the checks of theta* of every model, by tensor. On another platform, differences are not a finding."""
        checks = []
        for model in self.view.models:
            relative = model_file(model, THETA)
            try:
                if self.view.minimum(model).category == "diverged":  # compared with the minima
                    continue
                ours, theirs = (
                    load_tensors(safe_path(folder, relative), name=relative)
                    for folder in (self.view.folder, self.other.folder)
                )
            except ArtefactError as error:
                checks.append(Check(self.level, relative, "damaged", str(error)))
                continue
            grade, detail = _grade_tensors(ours, theirs)
            if grade == "different" and self.bands is not None:
                self.unjudged.append(f"{relative} (training magnifies the rounding of another platform)")
            else:
                checks.append(Check(self.level, relative, grade, detail))
        return self._against(checks)

    @property
    def remarks(self) -> Remarks:
        """Return what could not be judged, and the provenance of both sides."""
        warnings = (f"not judged: {'; '.join(self.unjudged)}",) if self.unjudged else ()
        if self.idle:
            said = f"bands that are too wide to find an error ({JUDGES_NOTHING}): {'; '.join(self.idle)}"
            warnings = (*warnings, said)
        sides = Sides(self.view.provenance, self.other.provenance, self.other.kind)
        return Remarks(warnings=warnings, figures=tuple(self.shown), sides=sides)

    def _against(self, checks: list[Check]) -> list[Check]:
        return [replace(check, against=self.other.kind) for check in checks]

    def _data(self) -> Check:
        ours, theirs = (_fingerprint(side) for side in (self.view.provenance, self.other.provenance))
        if ours is not None and ours == theirs:
            return Check(self.level, "data", "identical", f"fingerprint {ours[:16]}")
        return Check(self.level, "data", "different", f"fingerprint {str(ours)[:16]}, expected {str(theirs)[:16]}")

    def _minimum(self, model: str) -> Check:
        subject = f"models/{model}"
        try:
            ours, theirs = self.view.minimum(model), read_minimum(self.other.folder, model)
            pairs = {name: (getattr(ours, name), getattr(theirs, name)) for name in COMPARED_NUMBERS}
            numbers = self._numbers(None, model, pairs)
            grade, detail = grade_minimum(
                ours, theirs, images=_images(self.view.provenance), exact=self.platforms.exact, same_run=False
            )
            if grade in {"identical", "equal"}:
                of_history, words = self._grade_history(model)
                if of_history != "identical":
                    grade, detail = worst([grade, of_history]), words
                said = f"{ours.category} after {ours.epochs} epochs; {detail}"
                return Check(self.level, subject, grade, said, numbers=numbers)
        except ArtefactError as error:
            return Check(self.level, subject, "damaged", str(error))
        if self.bands is None:
            return Check(self.level, subject, grade, detail, numbers=numbers)
        seen = self.bands.categories.get(model, {})
        if ours.category not in seen:
            often = ", ".join(f"{category} ({count})" for category, count in seen.items())
            said = f"{ours.category}, the reference's replicates: {often}"
            return Check(self.level, subject, "different", said, numbers=numbers)
        of_numbers, words = self._in_bands(subject, pairs, {name: self.bands.of_number(model, name) for name in pairs})
        # The differing numbers are not among these, or are in their bands: at best consistent.
        grade, detail = worst([of_numbers, "consistent"]), words if of_numbers != "identical" else detail
        said = f"{ours.category} after {ours.epochs} epochs; {detail}"
        return Check(self.level, subject, grade, said, numbers=numbers)

    def _path(self, model: str) -> list[Check]:
        """Check trajectory.csv, if the spec records one. Replicates give no bands for a path."""
        subject = f"models/{model}/{TRAJECTORY}"
        try:
            ours = self.view.trajectory(model)
            if not ours or self.replicate:
                return []
            theirs = load_trajectory(self.other.folder, model, surfaces=surfaces_around(self.view.spec, model))
        except ArtefactError as error:
            return [Check(self.level, subject, "damaged", str(error))]
        grade, detail = grade_path(ours, theirs)
        if grade == "different" and self.bands is not None:
            self.unjudged.append(f"{subject} (training magnifies the rounding of another platform)")
            return []
        return [Check(self.level, subject, grade, detail)]

    def _surface(self, surface: str, model: str) -> list[Check]:
        subject = f"{surface}/{model}"
        try:
            stored, expected = self.view.statistics[surface][model], self.other.statistics[surface][model]
            pairs = {name: (stored.get(name), value) for name, value in expected.items()}
        except ArtefactError as error:
            return [Check(self.level, subject, "damaged", str(error))]
        except (KeyError, TypeError, AttributeError):
            if self.bands is not None and FAILED & set(self.bands.categories.get(model, {})):
                self.unjudged.append(f"surface {subject} (one of the networks has none, as some replicates do)")
                return []
            return [Check(self.level, subject, "different", "one side has no such surface")]
        bands = {name: self.bands.of_statistic(surface, model, name) if self.bands else None for name in pairs}
        of_statistics, detail = self._in_bands(f"statistics {subject}", pairs, bands)
        numbers = self._numbers(surface, model, pairs)
        checks = [Check(self.level, f"statistics {subject}", of_statistics, detail, numbers=numbers)]
        if self.replicate:
            return checks
        try:
            grade, detail = self._grade_surface(surface, model)
        except ArtefactError as error:
            return [Check(self.level, f"surface {subject}", "damaged", str(error))]
        if grade == "different" and self.bands is not None and of_statistics != "different":
            grade, detail = "consistent", f"its statistics are inside their bands; point by point: {detail}"
        return [Check(self.level, f"surface {subject}", grade, detail), *checks]

    def _grade_surface(self, surface: str, model: str) -> tuple[Grade, str]:
        ours, theirs = (surface_values(folder, surface, model) for folder in (self.view.folder, self.other.folder))
        of_losses = Rounding()
        if not self.platforms.exact:
            spec = next(drawn.spec for drawn in expand_surfaces(self.view.spec) if drawn.name == surface)
            of_losses = rounding_between(
                self.view.provenance, self.other.provenance, surface=spec, stage=f"surface/{surface}/{model}"
            )
        moved = self._accuracy_tolerance(max(ours["images"], 1)) + of_losses.accuracy
        return grade_arrays(
            *({name: side[name] for name in _GRID} for side in (ours, theirs)),
            absolute={"loss": of_losses.absolute, "accuracy": moved},
            relative={"loss": of_losses.relative},
        )

    def _in_bands(
        self, subject: str, pairs: Mapping[str, tuple[Any, Any]], bands: Mapping[str, Band | None]
    ) -> tuple[Grade, str]:
        """Grade (found, expected) pairs. If they differ, grade them by their bands, if there are bands."""
        grades: dict[str, Grade] = {}
        for name, (found, expected) in pairs.items():
            grade = self._judge(name, found, expected, bands[name])
            if grade is None:
                why = "undefined here" if found is None else never_banded(name) or "the reference has no band for it"
                self.unjudged.append(f"{name} of {subject} ({why})")
            else:
                grades[name] = grade
        grade = worst(grades.values())
        if grade in {"identical", "equal"}:
            return grade, f"{len(grades)} numbers"
        names = [name for name, one in grades.items() if one == grade]
        if grade == "consistent":
            assert self.bands is not None  # noqa: S101 - only a band makes a number consistent
            said = f"{len(names)} of {len(grades)} numbers differ, each inside its band ({self.bands.n} replicates"
            idle = [name for name in names if (of := bands[name]) is not None and of.judges_nothing]
            if idle:
                self.idle.append(f"{', '.join(idle)} of {subject}")
            return grade, f"{said}{f'; {len(idle)} of these bands are too wide to find an error' if idle else ''})"
        first = names[0]
        band = bands[first]
        reach = f", band {band.low:.6g} to {band.high:.6g}" if band is not None else ""
        rest = f" (and {len(names) - 1} more: {', '.join(names[1:])})" if len(names) > 1 else ""
        return grade, f"{first}: {pairs[first][0]}, expected {pairs[first][1]}{reach}{rest}"

    def _judge(self, name: str, found: object, expected: object, band: Band | None) -> Grade | None:
        """Grade a number, by its band if it differs. None if it has no value, or no band although others have one.

        A number without a band on replicates cannot be judged by one run of another platform either.
        """
        grade = grade_number(found, expected)
        if name == ERROR and grade == "different" and (self.replicate or not self.platforms.exact):
            return grade_error(found, expected)
        if grade == "different" and not self.platforms.exact and never_banded(name) and found is not None:
            return None
        if grade != "different" or self.bands is None:
            return grade
        if band is None or found is None:
            return None
        return "consistent" if band.holds(found) else grade

    def _numbers(
        self, surface: str | None, model: str, pairs: Mapping[str, tuple[Any, Any]]
    ) -> tuple[NumberComparison, ...]:
        """Return the numbers behind a check, with all measured bands, even if they do not decide."""
        held = []
        for name, (found, expected) in pairs.items():
            of = self._band(surface, model, name)
            held.append(
                NumberComparison.of((surface, model, name), found, expected, self._judge(name, found, expected, of), of)
            )
        return tuple(held)

    def _band(self, surface: str | None, model: str, name: str) -> Band | None:
        bands = self.other.bands
        if bands is None:
            return None
        return bands.of_number(model, name) if surface is None else bands.of_statistic(surface, model, name)

    def _figures(self, grades: set[Grade]) -> list[Check]:
        """Compare both sides' figures, unless they show surfaces that may differ."""
        if "consistent" in grades:
            self.unjudged.append("figures (they show differences within the bands)")
            self._show_figures()
            return []
        exact = drawn_alike(self.view.provenance, self.other.provenance).exact
        checks = []
        for relative in self._figure_names():
            try:
                ours, theirs = (read_figure(folder, relative) for folder in (self.view.folder, self.other.folder))
                grade, detail = grade_figure(ours, theirs, pdf=False, exact=exact and self.platforms.exact)
            except ArtefactError as error:
                checks.append(Check(self.level, relative, "damaged", str(error)))
                continue
            figure = FigureComparison(relative, expected=theirs, found=ours, against=self.other.kind)
            checks.append(Check(self.level, relative, grade or "different", detail, figure=figure))
        return checks

    def _show_figures(self) -> None:
        """Show both sides' figures without a grade."""
        for relative in self._figure_names():
            with contextlib.suppress(ArtefactError):
                ours, theirs = (read_figure(folder, relative) for folder in (self.view.folder, self.other.folder))
                self.shown.append(FigureComparison(relative, expected=theirs, found=ours, against=self.other.kind))

    def _figure_names(self) -> list[str]:
        folders = (self.view.folder, self.other.folder)
        names = {f"figures/{path.name}" for folder in folders for path in folder.glob("figures/*.png")}
        # Curvature may exist on one side only, because it is optional.
        spectrum = f"figures/{spectrum_stem(self.view.spec)}.png"
        return sorted(names - ({spectrum} if any(not (folder / spectrum).exists() for folder in folders) else set()))

    def _grade_history(self, model: str) -> tuple[Grade, str]:
        """Grade everything in history.csv except the seconds."""
        relative = model_file(model, HISTORY)
        sides = (self.view.history(model), load_history(safe_path(self.other.folder, relative), name=relative))
        train, validation = map(self._accuracy_tolerance, _images(self.view.provenance))
        tolerances = {"train_accuracy": train, "validation_accuracy": validation}
        grade, words = grade_arrays(*map(history_values, sides), absolute=tolerances)
        return grade, f"{HISTORY} {words}"

    def _accuracy_tolerance(self, images: int) -> float:
        """Return the tolerance of an accuracy over `images` images: 0 on one platform, except for rounding a share."""
        return ABSOLUTE + (0.0 if self.platforms.exact else images_that_may_move(images) / images)


def _grade_tensors(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> tuple[Grade, str]:
    if set(ours) != set(theirs) or any(ours[name].dtype != theirs[name].dtype for name in ours):
        return "different", "other tensors"
    grade, words = grade_arrays(
        *({name: array.astype("f8") for name, array in side.items()} for side in (ours, theirs))
    )
    return grade, f"{len(ours)} tensors, all bits" if grade == "identical" else words


def _fingerprint(provenance: Mapping[str, Any]) -> str | None:
    data = provenance.get("data")
    found = data.get("fingerprint") if isinstance(data, Mapping) else None
    return found if isinstance(found, str) else None


def _images(provenance: Mapping[str, Any]) -> tuple[int, int]:
    """Return the numbers of training and validation images, at least 1."""
    data = provenance.get("data")
    found = [data.get(part) if isinstance(data, Mapping) else None for part in ("train", "validation")]
    train, validation = (count if isinstance(count, int) and count > 0 else 1 for count in found)
    return train, validation
