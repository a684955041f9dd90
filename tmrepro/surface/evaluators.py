"""Chooses the evaluator of a problem. All evaluators have one interface (`problem`). A new one is registered here.

An evaluator may reorder arithmetic, but not change it: |S - S64| must be at most 1e-5 (|S64| + 0.01), where S64 is the
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

# Faster ones, the fastest first. The rule takes the first that supports the problem. It depends on the problem alone, not on
# timing. The first three compute only on the CPU, the last two only on a GPU.
_BY_RULE: tuple[EvaluatorKind, ...] = (
    TrackedEvaluator,
    FoldedEvaluator,
    PrefixEvaluator,
    BatchedEvaluator,
    FusedEvaluator,
    ReplayedEvaluator,
)
_WITHOUT_BITS: tuple[EvaluatorKind, ...] = (CompiledEvaluator,)  # for levels without bit-reproducibility


@dataclass(frozen=True)
class Choice:
    """The evaluator for a problem, and the reason for choosing it."""

    kind: EvaluatorKind
    reason: str


def evaluator_names() -> tuple[str, ...]:
    """Return the names of all evaluators, the fastest first."""
    return tuple(kind.name for kind in _kinds())


def choose(
    problem: Problem,
    *,
    forced: str | None = None,
    level: Level = "portable",
    rejected: Mapping[str, str] | None = None,
) -> Choice:
    """Return the evaluator for a problem: the first by rule that supports it, or the one `forced` by name.

    `rejected` are evaluators whose error exceeded the bound, with the reason. The rule skips them.

    Raises:
        UsageError: the forced evaluator does not exist, or does not support the problem or the level of determinism.
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
    """Return why `kind` cannot evaluate `problem` at a level of determinism; None if it can."""
    if kind in _WITHOUT_BITS and level != "fast":
        return f"not bit-reproducible; requires determinism: fast (the level is {level})"
    if problem.only_plain is not None and kind is not PlainEvaluator:
        return problem.only_plain
    return kind.why_unsupported(problem)


def find_evaluator(name: str) -> EvaluatorKind:
    """Return the evaluator called `name`.

    Raises:
        UsageError: there is no evaluator of that name.
    """
    for kind in _kinds():
        if kind.name == name:
            return kind
    raise UsageError(f"there is no evaluator {name!r}: choose one of {', '.join(evaluator_names())}")


def _kinds() -> tuple[EvaluatorKind, ...]:
    return (*_BY_RULE, *_WITHOUT_BITS, PlainEvaluator)
