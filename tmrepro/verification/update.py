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

import numpy as np

from tmrepro.comparison.contents import MISSING, Part, parts_of, results
from tmrepro.runner.view import RunView, open_run
from tmrepro.spec import Spec, first_difference
from tmrepro.verification.bands import Replicate, own_replicates
from tmrepro.verification.figures import grade_figure
from tmrepro.verification.grades import Grade, grade_array, grade_value
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
    now, after = (results(side.folder, side.spec) for side in (reference, view))
    for subject in dict.fromkeys([*now, *after]):
        for part in parts_of(*(side[subject]() if subject in side else {} for side in (after, now))):
            grade, detail = _grade(part)
            if grade != "identical":
                what = f"{subject}/{part.name}" if part.name else subject
                yield Change(what, _text(part.theirs), detail or _text(part.ours), grade)
    for line in Sides(view.provenance, reference.provenance, "reference").lines:
        if line.differs:
            yield Change(f"provenance {line.path}", line.expected or NOTHING, line.run or NOTHING, "different")


def _grade(part: Part) -> tuple[Grade, str]:
    """Grade a part. The text describes the largest difference of two arrays or figures."""
    match part.ours, part.theirs:
        case np.ndarray() as ours, np.ndarray() as theirs:
            return grade_array(ours, theirs)
        case bytes() as ours, bytes() as theirs:
            grade, detail = grade_figure(ours, theirs, pdf=False, exact=True)
            return grade or "different", detail
        case ours, theirs:
            return grade_value(ours, theirs), ""


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


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.size} numbers"
    if isinstance(value, bytes):
        return "a figure"
    return NOTHING if value is None or value is MISSING else str(value)
