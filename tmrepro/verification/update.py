"""Replaces a reference by a run: finds the changes, decides whether the run is acceptable, and writes the reference.

All later runs are compared with a reference. So a run can become a reference only if it is consistent: damaged files,
statistics that do not follow from its surfaces, and surfaces that do not follow from its models are refused. The run may
differ from the old reference. Each difference is shown before the user is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmrepro.errors import ArtefactError
from tmrepro.records import Minimum
from tmrepro.runner.view import RunView, open_run
from tmrepro.spec import Spec, first_difference
from tmrepro.spec.limits import FIGURE_BYTES
from tmrepro.statistics import COMPARED_NUMBERS
from tmrepro.store.atomic import read_bytes, safe_path
from tmrepro.store.minima import read_minimum
from tmrepro.store.run_files import STORE
from tmrepro.store.surfaces import read_surface
from tmrepro.verification.bands import Replicate, own_replicates
from tmrepro.verification.figures import grade_figure
from tmrepro.verification.grades import Grade, grade_array, grade_number, worst
from tmrepro.verification.reference import Reference, replace_reference, write_reference
from tmrepro.verification.verdict import Check, Sides, Verdict

NOTHING = "-"


@dataclass(frozen=True)
class Change:
    """A change of an update: the value in the reference now, and after the update."""

    what: str
    now: str
    after: str
    grade: Grade


@dataclass(frozen=True)
class Update:
    """A run that may become the reference `to`. `refusal` is the reason if it may not. `remarks` are shown to the user.

    `to` is None if a damaged run does not name its reference.
    """

    run: Path
    to: Path | None
    verdict: Verdict
    changes: tuple[Change, ...]
    remarks: tuple[str, ...]
    refusal: str | None


def propose_update(run: Path, *, to: Path | None, verdict: Verdict) -> Update:
    """Return the changes of replacing the reference `to` by `run`, whose verdict is `verdict`."""
    failed = [check for check in verdict.checks if check.against != "reference" and not check.passed]
    if failed or to is None:
        return Update(run, to, verdict, (), (), _refusal(verdict, failed))
    view, reference = open_run(run), Reference(to)
    return Update(run, to, verdict, tuple(_changes(view, reference)), tuple(_remarks(view, reference)), None)


def accept_update(update: Update) -> Path:
    """Replace the reference by the run. Return its folder. Bands are kept if the spec computes the same.

    Raises:
        DamagedError: the run no longer matches its manifest.
        StorageError: the reference's folder cannot be written.
    """
    assert update.to is not None  # noqa: S101 - otherwise the update was refused
    view, reference = open_run(update.run), Reference(update.to)
    if _computes_the_same(view.spec, reference.spec):
        replace_reference(update.run, to=update.to, bands=reference.bands)
    else:
        minima = {name: view.minimum(name) for name in view.models}
        write_reference(
            update.run, to=update.to, replicates=own_replicates(view.spec, Replicate(view.statistics, minima))
        )
    return update.to


def _computes_the_same(spec: Spec, other: Spec) -> bool:
    """Return whether two specs differ at most in how figures are drawn."""
    return first_difference(spec.model_copy(update={"figures": other.figures}), other) is None


def _refusal(verdict: Verdict, failed: Sequence[Check]) -> str:
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return (
        f"{failed[0].subject}: {failed[0].detail}{more}; only a consistent run can become a reference, and only "
        f"an undamaged reference can be compared; 'tmrepro verify {verdict.subject}' shows all findings"
    )


def _changes(view: RunView, reference: Reference) -> Iterator[Change]:
    """Yield every difference between the reference and the run, part by part."""
    difference = first_difference(view.spec, reference.spec)
    if difference is not None:
        yield Change("spec", "its own", str(difference), "different")
    yield from _changed_minima(view, reference.folder)
    for place in dict.fromkeys([*_places(reference.statistics), *_places(view.statistics)]):
        now, after = _at(reference.statistics, place), _at(view.statistics, place)
        grade = grade_number(after, now)
        if grade != "identical":
            yield Change("/".join(place), _text(now), _text(after), grade)
    yield from _changed_surfaces(view, reference.folder)
    yield from _changed_figures(view.folder, reference.folder)
    for line in Sides(view.provenance, reference.provenance, "reference").lines:
        if line.differs:
            yield Change(f"provenance {line.path}", line.expected or NOTHING, line.run or NOTHING, "different")


def _changed_minima(view: RunView, folder: Path) -> Iterator[Change]:
    there = {path.parent.name for path in folder.glob("models/*/minimum.json")}
    for model in dict.fromkeys([*view.models, *sorted(there)]):
        now = read_minimum(folder, model) if model in there else None
        after = view.minimum(model) if model in view.models else None
        for name in ("category", *COMPARED_NUMBERS):
            ours, theirs = _field(after, name), _field(now, name)
            same: Grade = "identical" if ours == theirs else "different"
            grade = same if name == "category" else grade_number(ours, theirs)
            if grade != "identical":
                yield Change(f"models/{model}/{name}", _text(theirs), _text(ours), grade)


def _changed_surfaces(view: RunView, folder: Path) -> Iterator[Change]:
    for surface, model in view.surfaces:
        ours = read_surface(view.folder, surface, model)[0]
        try:
            theirs = read_surface(folder, surface, model)[0]
        except ArtefactError:
            yield Change(f"{STORE}/{surface}/{model}", NOTHING, f"{ours.loss.size} points", "different")
            continue
        found = [grade_array(getattr(ours, name), getattr(theirs, name)) for name in ("loss", "accuracy", "a", "b")]
        grade = worst(one for one, _ in found)
        if grade != "identical":
            detail = next(text for one, text in found if one == grade)
            yield Change(f"{STORE}/{surface}/{model}", f"{theirs.loss.size} points", detail, grade)


def _changed_figures(run: Path, folder: Path) -> Iterator[Change]:
    names = sorted({path.name for side in (run, folder) for path in side.glob("figures/*.png")})
    for name in names:
        relative = f"figures/{name}"
        here, there = (_picture(side, relative) for side in (run, folder))
        if here is None or there is None:
            yield Change(
                relative, NOTHING if there is None else "a figure", NOTHING if here is None else "a figure", "different"
            )
        elif here != there:
            grade, detail = grade_figure(here, there, pdf=False, exact=True)
            yield Change(relative, "a figure", detail, grade or "different")


def _picture(folder: Path, relative: str) -> bytes | None:
    path = safe_path(folder, relative)
    return read_bytes(path, limit_bytes=FIGURE_BYTES, name=relative) if path.is_file() else None


def _remarks(view: RunView, reference: Reference) -> Iterator[str]:
    bands, name = reference.bands, reference.spec.name
    build = f"'tmrepro reference build SPEC --to {reference.folder} --replicates N' measures new bands"
    if not bands.measured:
        yield f"reference {name} has no bands; {build}"
    elif not _computes_the_same(view.spec, reference.spec):
        yield f"its bands belong to another spec, so they are removed; {build}"
    else:
        outside = [
            "/".join(place)
            for place in _places(view.statistics)
            if (band := bands.of_statistic(*place)) is not None and not band.holds(_at(view.statistics, place))
        ]
        yield f"its bands are kept; they were measured on {bands.n} replicates of the old reference"
        if outside:
            first = ", ".join(outside[:3])
            yield f"{len(outside)} statistics are outside their bands ({first}): the bands are out of date; {build}"


def _places(statistics: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[tuple[str, str, str]]:
    return [(s, m, name) for s, models in statistics.items() for m, values in models.items() for name in values]


def _at(statistics: Mapping[str, Mapping[str, Mapping[str, Any]]], place: tuple[str, str, str]) -> Any:
    surface, model, name = place
    return statistics.get(surface, {}).get(model, {}).get(name)


def _field(minimum: Minimum | None, name: str) -> Any:
    return None if minimum is None else getattr(minimum, name)


def _text(value: Any) -> str:
    return NOTHING if value is None else str(value)
