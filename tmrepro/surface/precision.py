"""The error of a precision below float32: the difference of a surface's points from those in float32, for a sample."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tmrepro.records import Surface
from tmrepro.surface.measured import Lattice, sampled_points
from tmrepro.surface.plain import PlainEvaluator
from tmrepro.surface.problem import Problem

LOWER = frozenset({"tf32", "bfloat16"})
SAMPLED_POINTS = 16
FLOOR = 0.01  # nats; a relative bound alone is meaningless for tiny losses


@dataclass(frozen=True)
class PrecisionError:
    """The largest |S - S32| / (|S32| + 0.01) and difference of accuracies, and the number of points. All are finite."""

    loss: float
    accuracy: float
    points: int


def measure_precision_error(problem: Problem, surface: Surface, lattice: Lattice) -> PrecisionError:
    """Compare the stored `surface` of `problem` with the plain evaluator in float32, at the points of the measured error."""
    seed = problem.directions.delta_facts.seed
    plain = PlainEvaluator(replace(problem, precision="float32"))
    losses, accuracies = [], []
    for i, j in sampled_points(lattice, surface.loss, seed=seed, least=SAMPLED_POINTS):
        loss, accuracy = (values[0, 0] for values in plain.block(lattice.a[i : i + 1], lattice.b[j : j + 1]))
        if np.isfinite(loss) and np.isfinite(surface.loss[i, j]):
            losses.append(abs(surface.loss[i, j] - loss) / (abs(loss) + FLOOR))
            if np.isfinite(accuracy):  # it is nan if targets are numbers
                accuracies.append(abs(surface.accuracy[i, j] - accuracy))
    return PrecisionError(float(max(losses, default=0)), float(max(accuracies, default=0)), len(losses))
