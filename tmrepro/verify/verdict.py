"""What verification found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tmrepro.errors import EXIT_DIFFERENT, EXIT_OK, DamagedError

Grade = Literal["identical", "equal", "consistent", "different", "damaged"]
Level = Literal["integrity", "statistics", "audit", "rerun"]

GRADES: tuple[Grade, ...] = ("identical", "equal", "consistent", "different", "damaged")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: `subject` is what, `detail` what was found, in words and numbers."""

    level: Level
    subject: str
    grade: Grade
    detail: str

    @property
    def passed(self) -> bool:
        """Whether it is as it should be, by one of the three grades that say so."""
        return self.grade in {"identical", "equal", "consistent"}


@dataclass(frozen=True)
class Verdict:
    """All checks of one verification, and notes on what they do and do not say."""

    subject: str
    level: Level
    reference: str | None
    checks: tuple[Check, ...]
    notes: tuple[str, ...]

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
        """0 verified, 1 different, 3 damaged."""
        if self.grade == "damaged":
            return DamagedError.exit_code
        return EXIT_OK if self.passed else EXIT_DIFFERENT
