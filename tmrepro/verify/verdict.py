"""What verification found."""

from __future__ import annotations

from dataclasses import dataclass

from tmrepro.errors import EXIT_DIFFERENT, EXIT_OK, DamagedError
from tmrepro.store.litter import litter_words
from tmrepro.verify.evidence import FigureHeld, NumberHeld, Sides
from tmrepro.verify.words import GRADES, Against, Grade, Level

__all__ = ["GRADES", "Check", "Grade", "Level", "Remarks", "Verdict"]

SPEC = "spec.yaml"  # the check that the specs are the same: it looks at no result, so at no bits of one


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: `subject` is what, `detail` what was found, in words and numbers.

    `numbers` and `figure` are what was held `against` each other, where the check is about them.
    """

    level: Level
    subject: str
    grade: Grade
    detail: str
    against: Against = "itself"
    numbers: tuple[NumberHeld, ...] = ()
    figure: FigureHeld | None = None

    @property
    def passed(self) -> bool:
        """Whether it is as it should be, by one of the three grades that say so."""
        return self.grade in {"identical", "equal", "consistent"}


@dataclass(frozen=True)
class Remarks:
    """What no grade says: `notes` explain the verdict, `warnings` limit it and must not be missed.

    `figures` are to be looked at, since they show what may differ; `sides` is the provenance of what was compared: of
    two remarks, the first that has one keeps it.
    """

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    figures: tuple[FigureHeld, ...] = ()
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
    """All checks of one verification, and remarks on what they do and do not say.

    `replicate`: only agreement within the bands was asked for, since the seeds are others.
    """

    subject: str
    level: Level
    reference: str | None
    checks: tuple[Check, ...]
    remarks: Remarks = Remarks()
    replicate: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What explains the checks."""
        return self.remarks.notes

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the checks do not cover, and promises that were not kept though every check passed."""
        return self.remarks.warnings

    @property
    def sides(self) -> Sides | None:
        """The provenance of both sides; None where none was looked at, or none could be believed."""
        return self.remarks.sides

    @property
    def same_bits(self) -> bool | None:
        """Whether all bits that were held against another run's are the same; None where none were.

        A grade within a tolerance can hide nondeterminism; this does not.
        """
        held = [check for check in self.checks if check.against != "itself" and check.subject != SPEC]
        if self.replicate or not held:
            return None
        return all(check.grade == "identical" for check in held)

    @property
    def headline(self) -> str:
        """The verdict in one line."""
        if self.grade == "litter":
            paths = [check.subject for check in self.checks if check.grade == "litter"]
            whole = "at level integrity nothing else is wrong: remove it, then verify again"
            return f"NOT VERIFIED: {self.subject}, level {self.level}: {litter_words(paths)}; {whole}"
        word = "verified" if self.passed else ("DAMAGED" if self.grade == "damaged" else "DIFFERENT")
        asked = ", as a replicate" if self.replicate else ""
        against = f" against reference {self.reference}" if self.reference else ""
        return f"{word}: {self.subject}, level {self.level}{against}{asked}: {self.grade}"

    @property
    def grade(self) -> Grade:
        """The worst grade of all checks: a strong failure is never hidden behind weaker passes."""
        return max((check.grade for check in self.checks), key=GRADES.index, default="identical")

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
        from tmrepro.verify.cell import verdict_html

        return verdict_html(self)
