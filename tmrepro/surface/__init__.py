"""Algorithm 2: the loss at every point of the grid, chunk by chunk."""

from __future__ import annotations

from tmrepro.surface.evaluators import Evaluator, PlainEvaluator, Problem, choose_evaluator
from tmrepro.surface.executors import evaluate_chunks
from tmrepro.surface.grid import build_grid

__all__ = ["Evaluator", "PlainEvaluator", "Problem", "build_grid", "choose_evaluator", "evaluate_chunks"]
