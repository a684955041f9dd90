"""Chooses the evaluator of a problem. All evaluators share one interface (`problem`); a new one is registered here.

An evaluator may reorder arithmetic, but not change it: |S - S64| must be at most 1e-5 (|S64| + 0.01), compared with the
definition in float64: `PlainEvaluator` with precision float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tmrepro.errors import UsageError
from tmrepro.numerics.determinism import Level
from tmrepro.surface.compiled import CompiledEvaluator
from tmrepro.surface.cpu.folded import FoldedEvaluator
from tmrepro.surface.cpu.prefix import PrefixEvaluator
from tmrepro.surface.cpu.tracked import TrackedEvaluator
from tmrepro.surface.gpu.batched import BatchedEvaluator
from tmrepro.surface.gpu.fused import FusedEvaluator
from tmrepro.surface.gpu.replayed import ReplayedEvaluator
from tmrepro.surface.plain import PlainEvaluator
from tmrepro.surface.problem import EvaluatorKind, Problem

# Faster ones, the fastest first. The rule takes the first that fits: by the problem alone, never by timing. The first three
# compute on the CPU alone, the last two on a GPU.
_BY_RULE: tuple[EvaluatorKind, ...] = (
    TrackedEvaluator,
    FoldedEvaluator,
    PrefixEvaluator,
    BatchedEvaluator,
    FusedEvaluator,
    ReplayedEvaluator,
)
_WITHOUT_BITS: tuple[EvaluatorKind, ...] = (CompiledEvaluator,)  # for a level that promises none


@dataclass(frozen=True)
class Choice:
    """The evaluator that a problem gets, and why it is that one."""

    kind: EvaluatorKind
    reason: str


def evaluator_names() -> tuple[str, ...]:
    """Every evaluator there is, the fastest first."""
    return tuple(kind.name for kind in _kinds())


def choose(
    problem: Problem,
    *,
    forced: str | None = None,
    level: Level = "portable",
    rejected: Mapping[str, str] | None = None,
) -> Choice:
    """The evaluator for a problem: the first by rule that fits, or the one that was `forced` by name.

    `rejected` has evaluators that turned out to be beyond the bound, with the reason in words; the rule passes them over.

    Raises:
        UsageError: the one that was forced does not exist, or does not fit the problem or the level of determinism.
    """
    if forced is not None:
        kind = find_evaluator(forced)
        why = why_unsupported(kind, problem, level=level)
        if why is not None:
            raise UsageError(
                f"evaluator {forced!r} cannot evaluate this surface: {why}; leave out the evaluator to let the rule choose"
            )
        return Choice(kind, "forced by name")
    if problem.only_plain is not None:
        return Choice(PlainEvaluator, f"only plain can be used: {problem.only_plain}")
    unsupported: list[str] = []
    for kind in (*_BY_RULE, *(_WITHOUT_BITS if level == "fast" else ())):
        if rejected and kind.name in rejected:
            unsupported.append(rejected[kind.name])
            continue
        why = why_unsupported(kind, problem, level=level)
        if why is None:
            return Choice(kind, "; ".join([*unsupported, f"{kind.name} fits"]))
        unsupported.append(f"not {kind.name}: {why}")
    return Choice(PlainEvaluator, "; ".join([*unsupported, "plain fits everything"]))


def why_unsupported(kind: EvaluatorKind, problem: Problem, *, level: Level) -> str | None:
    """Why `kind` cannot evaluate `problem` under a level of determinism; None if it can."""
    if kind in _WITHOUT_BITS and level != "fast":
        return f"not bit-reproducible; requires determinism: fast (the level is {level})"
    if problem.only_plain is not None and kind is not PlainEvaluator:
        return problem.only_plain
    return kind.why_unsupported(problem)


def find_evaluator(name: str) -> EvaluatorKind:
    """The kind of evaluator called `name`.

    Raises:
        UsageError: there is none of that name.
    """
    for kind in _kinds():
        if kind.name == name:
            return kind
    raise UsageError(f"there is no evaluator {name!r}: choose one of {', '.join(evaluator_names())}")


def _kinds() -> tuple[EvaluatorKind, ...]:
    return (*_BY_RULE, *_WITHOUT_BITS, PlainEvaluator)
