"""Chunks of a grid, and their evaluation. The bytes of a chunk do not depend on the process or the order."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from tmrepro.numerics.determinism import Determinism
from tmrepro.surface.evaluators import choose
from tmrepro.surface.problem import Evaluator, EvaluatorKind, Problem


@dataclass(frozen=True)
class Chunk:
    """A block of the grid: its index in the store, and its coordinates."""

    index: tuple[int, int]
    a: Float64[np.ndarray, " I"]
    b: Float64[np.ndarray, " J"]


@dataclass(frozen=True)
class ChunkResult:
    """loss[i, j] and accuracy[i, j] of a chunk."""

    index: tuple[int, int]
    loss: Float64[np.ndarray, "I J"]
    accuracy: Float64[np.ndarray, "I J"]


def evaluate_chunks(
    problem: Problem, *, chunks: Sequence[Chunk], determinism: Determinism, kind: EvaluatorKind | None = None
) -> Generator[ChunkResult, None, None]:
    """Evaluate `chunks` in order by an evaluator of `kind` (None: by rule). Yield each result as soon as it is done."""
    if not chunks:
        return
    evaluator = (kind or choose(problem, level=determinism.level).kind)(problem)
    for chunk in chunks:
        yield evaluate(evaluator, chunk)


def evaluate(evaluator: Evaluator, chunk: Chunk) -> ChunkResult:
    """Return the values of one chunk."""
    loss, accuracy = evaluator.block(chunk.a, chunk.b)
    return ChunkResult(chunk.index, loss, accuracy)
