"""Algorithm 2: the loss at every point of the grid, chunk by chunk.

problem.py      the input and output of an evaluator: the interface of all evaluators
plain.py        the plain evaluator, with which all others are compared; compiled.py: the same, compiled by torch
cpu/, gpu/      faster evaluators
evaluators.py   all evaluators, and the rule that chooses one; selection.py: also uses the measured error
measured.py     the error of a surface, measured at some points; precision.py: the cost of a lower precision
grid.py         the points of a surface, and the order of its chunks; executors.py: evaluates chunks
conduct.py      checks that a network and a loss are functions; state.py and watch.py: what they keep, read and change
trace.py        the graph of a network, and the check that it computes the same; graph.py: cuts it
"""

from __future__ import annotations

from tmrepro.surface.evaluators import Choice, choose, evaluator_names, find_evaluator, why_unsupported
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
    "why_unsupported",
]
