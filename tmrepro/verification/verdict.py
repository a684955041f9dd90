"""The verdict: the record that the terminal, the page, the JSON and the JUnit file show.

A check describes its finding in one line. It also has the numbers, bands and figures behind the finding. Figures are bytes,
because the folder of a rerun is deleted before its verdict is shown.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tmrepro.errors import EXIT_DIFFERENT, EXIT_OK, DamagedError
from tmrepro.statistics import StatisticInfo, Value, number_info
from tmrepro.store.litter import litter_words
from tmrepro.store.run_files import SPEC
from tmrepro.verification.band import Band
from tmrepro.verification.grades import GRADES, Grade, as_number, worst

# Level integrity loads neither matplotlib nor torch.
if TYPE_CHECKING:
    from tmrepro.reporting.figures import PixelDifference

Level = Literal["integrity", "statistics", "audit", "rerun"]
# What a run is compared with: results from its own files, a reference, or a rerun of the spec.
Against = Literal["itself", "reference", "rerun"]

# These differ between two runs on one machine too, so they are shown but never marked.
_TIMES = ("started", "ended", "seconds", "timings")


@dataclass(frozen=True)
class NumberComparison:
    """A statistic of a surface, or a number of a minimum (`surface` is None), and the value expected of it.

    A value of None is undefined. A grade of None: the values differ, and there is no band to judge them by.
    """

    surface: str | None
    model: str
    name: str
    value: Value
    expected: Value
    grade: Grade | None
    band: Band | None = None

    @classmethod
    def of(
        cls,
        place: tuple[str | None, str, str],
        value: object,
        expected: object,
        grade: Grade | None,
        band: Band | None = None,
    ) -> NumberComparison:
        """Compare two values of a (surface, model, name). They may be untrusted; a value that is not a number becomes None."""
        return cls(*place, _number(value), _number(expected), grade, band)

    @property
    def info(self) -> StatisticInfo:
        """The meaning and the unit of the number; only its name if it is unknown."""
        return number_info(self.name, of_surface=self.surface is not None)

    @property
    def unit(self) -> str:
        """The unit; empty for a pure number."""
        return self.info.unit


@dataclass(frozen=True)
class FigureComparison:
    """A figure (PNG) and the expected one; None if it is missing or unreadable."""

    name: str
    expected: bytes | None = field(repr=False)
    found: bytes | None = field(repr=False)
    against: Against = "itself"

    @property
    def pixels(self) -> PixelDifference | None:
        """The differences from the expected figure; None if one is missing or invalid."""
        from tmrepro.reporting.figures import PixelDifference, compare_png

        if self.expected is None or self.found is None:
            return None
        if self.expected == self.found:
            return PixelDifference(
                same_size=True, identical=True, share_different=0.0, max_difference=0, mean_difference=0.0
            )
        try:
            return compare_png(self.expected, self.found)
        except DamagedError:
            return None

    @property
    def expected_sha256(self) -> str | None:
        """SHA-256 of the expected file."""
        return _digest(self.expected)

    @property
    def found_sha256(self) -> str | None:
        """SHA-256 of the file that was found."""
        return _digest(self.found)


@dataclass(frozen=True)
class ProvenanceLine:
    """One line of provenance: the value on each side (None: missing), and whether it is a difference that matters."""

    path: str
    run: str | None
    expected: str | None
    differs: bool


@dataclass(frozen=True)
class Sides:
    """The provenance of the run, and of what it was compared with; `against` names the latter."""

    run: Mapping[str, Any]
    expected: Mapping[str, Any] | None = None
    against: Against | None = None

    @property
    def lines(self) -> tuple[ProvenanceLine, ...]:
        """Both provenances line by line, in the run's order. Lines of the other side only come last."""
        run, expected = dict(_lines(self.run)), dict(_lines(self.expected or {}))
        return tuple(
            ProvenanceLine(
                path,
                run.get(path),
                expected.get(path),
                self.expected is not None and run.get(path) != expected.get(path) and not _is_time(path),
            )
            for path in dict.fromkeys([*run, *expected])
        )


@dataclass(frozen=True)
class Check:
    """The result of one check: `subject` is what was checked, `detail` the finding as text.

    `numbers` and `figure` are what was compared `against` the other side, if the check is about them.
    """

    level: Level
    subject: str
    grade: Grade
    detail: str
    against: Against = "itself"
    numbers: tuple[NumberComparison, ...] = ()
    figure: FigureComparison | None = None

    @property
    def passed(self) -> bool:
        """Whether the grade is one of the three that pass."""
        return self.grade in {"identical", "equal", "consistent"}


@dataclass(frozen=True)
class Remarks:
    """Remarks without a grade: `notes` explain the verdict, `warnings` limit it and must not be missed.

    `figures` may differ, so they are shown without a grade. `sides` is the provenance of what was compared. A sum of two
    remarks has the first `sides` that is not None.
    """

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    figures: tuple[FigureComparison, ...] = ()
    sides: Sides | None = None

    def __add__(self, other: Remarks) -> Remarks:
        return Remarks(
            self.notes + other.notes,
            self.warnings + other.warnings,
            self.figures + other.figures,
            self.sides if self.sides is not None else other.sides,
        )


@dataclass(frozen=True)
class Verdict:
    """All checks of one verification, and remarks on their meaning and limits.

    `replicate`: only agreement within the bands was checked, because the seeds differ.
    """

    subject: str
    level: Level
    reference: str | None
    checks: tuple[Check, ...]
    remarks: Remarks = Remarks()
    replicate: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """Explanations of the checks."""
        return self.remarks.notes

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the checks do not cover, and results that should be bitwise identical but are not."""
        return self.remarks.warnings

    @property
    def ungraded_figures(self) -> tuple[FigureComparison, ...]:
        """Figures without a grade, because their content may differ."""
        return self.remarks.figures

    @property
    def provenance(self) -> Sides | None:
        """The provenance of both sides; None if none was compared, or it is damaged."""
        return self.remarks.sides

    @property
    def same_bits(self) -> bool | None:
        """Whether all that was compared with another run is bitwise identical; None if nothing was compared.

        A grade within a tolerance can hide nondeterminism; this does not.
        """
        # The comparison of the specs compares no results, so it does not count.
        compared = [check for check in self.checks if check.against != "itself" and check.subject != SPEC]
        if self.replicate or not compared:
            return None
        return all(check.grade == "identical" for check in compared)

    @property
    def word(self) -> str:
        """The verdict in a word or two: verified, DIFFERENT, DAMAGED or NOT VERIFIED."""
        if self.grade == "litter":
            return "NOT VERIFIED"
        return "verified" if self.passed else ("DAMAGED" if self.grade == "damaged" else "DIFFERENT")

    @property
    def headline(self) -> str:
        """The verdict in one line; it starts with `word` and a colon."""
        if self.grade == "litter":
            paths = [check.subject for check in self.checks if check.grade == "litter"]
            whole = "level integrity found nothing else: remove it, then verify again"
            return f"{self.word}: {self.subject}, level {self.level}: {litter_words(paths)}; {whole}"
        asked = ", as a replicate" if self.replicate else ""
        against = f" against reference {self.reference}" if self.reference else ""
        return f"{self.word}: {self.subject}, level {self.level}{against}{asked}: {self.grade}"

    @property
    def grade(self) -> Grade:
        """The worst grade of all checks."""
        return worst(check.grade for check in self.checks)

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def exit_code(self) -> int:
        """0 verified, 1 different, 3 damaged or littered."""
        if self.grade in {"damaged", "litter"}:
            return DamagedError.exit_code
        return EXIT_OK if self.passed else EXIT_DIFFERENT

    def _repr_html_(self) -> str:
        """Return the verdict as a notebook's cell: headline, failed checks, passed checks, remarks. All text is escaped."""
        from tmrepro.reporting.cells import paragraph, table

        checks = sorted(self.checks, key=lambda check: GRADES.index(check.grade), reverse=True)
        rows = [(check.level, check.subject, check.grade, check.detail) for check in checks]
        parts = [paragraph(self.headline, strong=True)]
        if rows:
            parts.append(table(("level", "subject", "grade", "found"), rows, text=4))
        parts += [paragraph(f"WARNING: {warning}") for warning in self.warnings]
        parts += [paragraph(f"note: {note}") for note in self.notes]
        return "<div>" + "".join(parts) + "</div>"


def _number(value: object) -> Value:
    number = as_number(value)
    if number is None or not math.isfinite(number):
        return None
    return value if isinstance(value, int) else number


def _digest(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()


def _lines(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    from tmrepro.reporting.report import NOT_ON_THE_PAGE, tree_lines

    return tree_lines({name: value for name, value in provenance.items() if name not in NOT_ON_THE_PAGE})


def _is_time(path: str) -> bool:
    return path.partition(".")[0] in _TIMES
