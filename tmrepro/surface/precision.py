"""What a precision below float32 costs: how far a surface's points are from those in float32, at a sample of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tmrepro.records import Surface
from tmrepro.surface.measured import Lattice, sampled_points
from tmrepro.surface.plain import PlainEvaluator
from tmrepro.surface.problem import Problem

LOWER = frozenset({"tf32", "bfloat16"})
SAMPLED_POINTS = 16
FLOOR = 0.01  # nats; a purely relative bound means nothing where the loss is tiny


@dataclass(frozen=True)
class PrecisionError:
    """The largest |S - S32| / (|S32| + 0.01) and difference of accuracies, and at how many points, all finite."""

    loss: float
    accuracy: float
    points: int


def measure_precision_error(problem: Problem, surface: Surface, lattice: Lattice) -> PrecisionError:
    """Compare the stored `surface` of `problem` with the plain evaluator in float32, at points as the measured error has them."""
    seed = problem.directions.delta_facts.seed
    plain = PlainEvaluator(replace(problem, precision="float32"))
    losses, accuracies = [], []
    for i, j in sampled_points(lattice, surface.loss, seed=seed, least=SAMPLED_POINTS):
        loss, accuracy = (values[0, 0] for values in plain.block(lattice.a[i : i + 1], lattice.b[j : j + 1]))
        if np.isfinite(loss) and np.isfinite(surface.loss[i, j]):
            losses.append(abs(surface.loss[i, j] - loss) / (abs(loss) + FLOOR))
            if np.isfinite(accuracy):  # with numbers as targets there is none
                accuracies.append(abs(surface.accuracy[i, j] - accuracy))
    return PrecisionError(float(max(losses, default=0)), float(max(accuracies, default=0)), len(losses))
