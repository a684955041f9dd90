"""What a precision below float32 costs: how far a surface's points are from those in float32, at a sample of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tmrepro.records import Grid, Surface
from tmrepro.surface.plain import PlainEvaluator
from tmrepro.surface.problem import Problem

LOWER = frozenset({"tf32", "bfloat16"})
SAMPLED_POINTS = 16
FLOOR = 0.01  # nats; design, section 3: a purely relative bound means nothing where the loss is tiny


@dataclass(frozen=True)
class PrecisionError:
    """The largest |S - S32| / (|S32| + 0.01) and difference of accuracies, and at how many points, all finite."""

    loss: float
    accuracy: float
    points: int


def measure_precision_error(problem: Problem, surface: Surface, grid: Grid) -> PrecisionError:
    """Compare the stored `surface` of `problem` with the plain evaluator in float32.

    The points are drawn by delta's seed, so anyone looks at the same ones.
    """
    K = len(grid.a)
    stream = np.random.Generator(np.random.Philox(key=problem.directions.delta_facts.seed))
    plain = PlainEvaluator(replace(problem, precision="float32"))
    losses, accuracies = [], []
    for index in np.sort(stream.permutation(K * K)[:SAMPLED_POINTS]):
        i, j = divmod(int(index), K)
        loss, accuracy = (values[0, 0] for values in plain.block(grid.a[i : i + 1], grid.b[j : j + 1]))
        if np.isfinite(loss) and np.isfinite(surface.loss[i, j]):
            losses.append(abs(surface.loss[i, j] - loss) / (abs(loss) + FLOOR))
            accuracies.append(abs(surface.accuracy[i, j] - accuracy))
    return PrecisionError(float(max(losses, default=0)), float(max(accuracies, default=0)), len(losses))
