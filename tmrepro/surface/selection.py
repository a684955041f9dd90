"""Chooses the evaluator of a surface: the first by rule whose measured error is within the bound.

An evaluator that computes each point alone is tried at theta* and at far points, before the whole surface is computed. The
others cost a small part of the next one, and are measured on the complete surface. Evaluators that are rejected then must
be stored with the surface, so that a continued run makes the same choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from tmrepro.numerics.determinism import Level
from tmrepro.records import SurfaceError
from tmrepro.surface.evaluators import Choice, choose
from tmrepro.surface.measured import ErrorMeter, Lattice, Measured, record, words
from tmrepro.surface.plain import PlainEvaluator
from tmrepro.surface.precision import LOWER
from tmrepro.surface.problem import EvaluatorKind, Problem


@dataclass(frozen=True)
class Rejection:
    """An evaluator whose error exceeded the bound, and a description of the error."""

    evaluator: str
    reason: str


class Selector:
    """The evaluators of one surface, the fastest first. `rejected` are those that an earlier process rejected."""

    def __init__(
        self,
        problem: Problem,
        lattice: Lattice,
        *,
        forced: str | None = None,
        level: Level = "portable",
        rejected: Sequence[Rejection] = (),
    ) -> None:
        self._problem, self._forced, self._level = problem, forced, level
        self._meter = ErrorMeter(problem, lattice)
        self.tried: list[Rejection] = []  # before the surface; a continued run tries them again
        self.rejected = list(rejected)

    def choose(self, *, trusted: str | None = None) -> Choice:
        """Return the evaluator to compute the surface with. `trusted` is one that has been tried before.

        Raises:
            UsageError: see `evaluators.choose`.
        """
        while True:
            reasons = {one.evaluator: one.reason for one in (*self.tried, *self.rejected)}
            choice = choose(self._problem, forced=self._forced, level=self._level, rejected=reasons)
            if not (self._may_reject(choice.kind) and choice.kind.pointwise) or choice.kind.name == trusted:
                return choice
            reason = self._why_not(choice.kind, self._meter.before(choice.kind))
            if reason is None:
                return choice
            self.tried.append(Rejection(choice.kind.name, reason))

    def judge(self, kind: EvaluatorKind, loss: Float64[np.ndarray, "I J"]) -> SurfaceError | None:
        """Return the error of the surface by `kind`; None if the error rejects `kind`, so that the next one must be chosen."""
        measured = self._meter.after(kind, loss)
        if self._may_reject(kind):
            reason = self._why_not(kind, measured)
            if reason is not None:
                self.rejected.append(Rejection(kind.name, reason))
                return None
        return record(measured, note=self._note(kind, measured))

    def _may_reject(self, kind: EvaluatorKind) -> bool:
        return self._forced is None and self._problem.precision not in LOWER and kind is not PlainEvaluator

    def _why_not(self, kind: EvaluatorKind, measured: Measured) -> str | None:
        """Return why `kind` is rejected: at some point its error exceeds the bound, and that of plain does not or is smaller."""
        beyond = [point for point, error in measured.errors.items() if error > 1]
        if not beyond:
            return None
        plain = self._meter.plainly(beyond, measured.images).errors
        worse = [point for point in beyond if measured.errors[point] > max(1.0, plain[point])]
        if not worse:
            return None
        shown = Measured({point: measured.errors[point] for point in worse}, measured.images)
        return f"{kind.name} was {words(shown)}"

    def _note(self, kind: EvaluatorKind, measured: Measured) -> str | None:
        if measured.failure is not None or measured.worst[1] <= 1:
            return None
        found = words(measured)
        if self._problem.precision in LOWER:
            return f"{self._problem.precision} is {found}"
        if self._forced is not None:
            return f"{kind.name}, forced by name, is {found}"
        if kind is PlainEvaluator:
            return f"{self._problem.precision} itself is {found}"
        return f"{kind.name} is {found}; plain is no better there: that is what {self._problem.precision} gives"
