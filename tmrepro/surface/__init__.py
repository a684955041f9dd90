"""Algorithm 2: the loss at every point of the grid, chunk by chunk."""

from __future__ import annotations

from tmrepro.surface.evaluators import Choice, choose, evaluator_names, find_evaluator, why_unfit
from tmrepro.surface.executors import evaluate_chunks
from tmrepro.surface.grid import build_grid
from tmrepro.surface.plain import PlainEvaluator
from tmrepro.surface.problem import Evaluator, Precision, Problem

__all__ = [
    "Choice",
    "Evaluator",
    "PlainEvaluator",
    "Precision",
    "Problem",
    "build_grid",
    "choose",
    "evaluate_chunks",
    "evaluator_names",
    "find_evaluator",
    "why_unfit",
]
