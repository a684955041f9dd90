"""Measures the error of a surface, compared with the definition in float64, at a few of its points.

|S - S64| <= 1e-5 (|S64| + 0.01) is required of every evaluator. This cannot be proved for every network, so each surface is
measured on its first images: at theta*, at its highest finite loss, and at points drawn from delta's seed. A pointwise
evaluator computes these points alone. Another one gets the whole square with the point, cut as in its chunk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from tmrepro.records import SurfaceError, loss_bound
from tmrepro.surface.cpu.tail import SIDE
from tmrepro.surface.plain import PlainEvaluator
from tmrepro.surface.problem import Evaluator, EvaluatorKind, Problem

POINTS = 4
POINTS_BEFORE = 2  # theta* and a random point
IMAGES = 512
# The largest share of a surface's evaluations (points times images), unless too few images would be left.
SHARE = 0.05
LEAST_IMAGES = 32
SEEDLESS = 0  # seed of the points if the directions are the caller's own

Point = tuple[int, int]
Losses = Float64[np.ndarray, "I J"]


@dataclass(frozen=True)
class Lattice:
    """The points of a surface: its axes, the (i, j) of theta* if that is one of them, and the side of its chunks."""

    a: Float64[np.ndarray, " I"]
    b: Float64[np.ndarray, " J"]
    home: Point | None
    chunk: int


@dataclass(frozen=True)
class Measured:
    """Errors over the bound by point, inf if exactly one side is finite. `failure`: why there are none."""

    errors: Mapping[Point, float]
    images: int
    failure: str | None = None

    @property
    def worst(self) -> tuple[Point, float]:
        """The first point with the largest error, and that error."""
        point = max(self.errors, key=lambda point: self.errors[point])
        return point, self.errors[point]


class ErrorMeter:
    """Measures evaluators of one problem. The float64 loss of each point is computed once."""

    def __init__(self, problem: Problem, lattice: Lattice) -> None:
        self._problem, self._lattice = problem, lattice
        self._exact: dict[tuple[int, Point], float] = {}

    def before(self, kind: EvaluatorKind) -> Measured:
        """Return the errors of a pointwise evaluator at theta* and far from it, before the surface is computed."""
        return self._measure(kind, self._points(None)[:POINTS_BEFORE], None)

    def after(self, kind: EvaluatorKind, loss: Losses) -> Measured:
        """Return the errors of the surface `loss` [I, J], which an evaluator of `kind` computed."""
        return self._measure(kind, self._points(loss), loss)

    def plainly(self, points: Sequence[Point], images: int) -> Measured:
        """Return the errors of the definition in the precision of the problem."""
        plain = PlainEvaluator(self._problem.first(images))
        return self._compare({point: self._at(plain, point) for point in points}, images)

    def needs_no_evaluator(self) -> bool:
        """Return whether the values of a surface are sufficient: no more images than are measured, or all images in one batch."""
        return self._problem.whole or len(self._problem.inputs) <= IMAGES

    def _measure(self, kind: EvaluatorKind, points: Sequence[Point], loss: Losses | None) -> Measured:
        images = self._images(kind)
        if loss is not None and self.needs_no_evaluator():
            return self._compare({point: float(loss[point]) for point in points}, images)
        evaluator = kind(self._problem.first(images))
        if kind.pointwise:
            return self._compare({point: self._at(evaluator, point) for point in points}, images)
        found: dict[Point, float] = {}
        squares: dict[tuple[int, int], Losses] = {}
        for i, j in points:
            rows, columns = self._part_of_chunk(i, len(self._lattice.a)), self._part_of_chunk(j, len(self._lattice.b))
            corner = rows.start, columns.start
            if corner not in squares:
                squares[corner] = evaluator.block(self._lattice.a[rows], self._lattice.b[columns])[0]
            found[i, j] = float(squares[corner][i - corner[0], j - corner[1]])
        return self._compare(found, images)

    def _compare(self, found: Mapping[Point, float], images: int) -> Measured:
        try:
            self._look_up([point for point in found if (images, point) not in self._exact], images)
        except Exception as error:  # noqa: BLE001 - a user's network or loss may fail in any way in float64
            return Measured({}, 0, f"the definition cannot be computed in float64 ({type(error).__name__})")
        errors = {point: over_bound(value, self._exact[images, point]) for point, value in found.items()}
        return Measured(errors, images)

    def _look_up(self, points: Sequence[Point], images: int) -> None:
        """Store S64 of some points."""
        if points:
            definition = PlainEvaluator(self._problem.first(images, precision="float64"))
            self._exact |= {(images, point): self._at(definition, point) for point in points}

    def _at(self, evaluator: Evaluator, point: Point) -> float:
        i, j = point
        loss, _ = evaluator.block(self._lattice.a[i : i + 1], self._lattice.b[j : j + 1])
        return float(loss[0, 0])

    def _points(self, loss: Losses | None) -> list[Point]:
        return sampled_points(self._lattice, loss, seed=self._problem.directions.delta_facts.seed, least=POINTS)

    def _images(self, kind: EvaluatorKind) -> int:
        n, total = len(self._problem.inputs), len(self._lattice.a) * len(self._lattice.b)
        if self._problem.whole:
            return n
        if n <= IMAGES or kind.pointwise:
            return min(n, IMAGES)
        evaluations = min(POINTS * min(SIDE, self._lattice.chunk) ** 2, total) + POINTS
        return max(LEAST_IMAGES, min(IMAGES, int(SHARE * total * n / evaluations)))

    def _part_of_chunk(self, index: int, length: int) -> slice:
        """Return one side of the square with a point: evaluators begin a square every SIDE points of a chunk."""
        begin = index - index % self._lattice.chunk
        start = index - (index - begin) % SIDE
        return slice(start, min(start + SIDE, begin + self._lattice.chunk, length))


def sampled_points(lattice: Lattice, loss: Losses | None, *, seed: int | None, least: int) -> list[Point]:
    """Return theta*, the highest finite loss, then points drawn from delta's `seed`: `least` in total, or all points."""
    found = [] if lattice.home is None else [lattice.home]
    total, columns = len(lattice.a) * len(lattice.b), len(lattice.b)
    if loss is not None and np.isfinite(loss).any():
        highest = int(np.where(np.isfinite(loss), loss, -np.inf).argmax())
        found.append((highest // columns, highest % columns))
    found = list(dict.fromkeys(found))
    stream = np.random.Generator(np.random.Philox(key=SEEDLESS if seed is None else seed))
    while len(found) < min(least, total):
        index = int(stream.integers(total))
        if (index // columns, index % columns) not in found:
            found.append((index // columns, index % columns))
    return found


def over_bound(found: float, exact: float) -> float:
    """Return |S - S64| over the bound; 0 if neither is finite, inf if one is."""
    if math.isfinite(found) and math.isfinite(exact):
        return abs(found - exact) / loss_bound(exact)
    return math.inf if math.isfinite(found) or math.isfinite(exact) else 0.0


def record(measured: Measured, *, note: str | None) -> SurfaceError:
    """Return the error to store. An infinite error is not a number in JSON; then only the note describes it."""
    if measured.failure is not None:
        return SurfaceError(None, (), 0, f"not measured: {measured.failure}")
    worst = measured.worst[1]
    return SurfaceError(worst if math.isfinite(worst) else None, tuple(measured.errors), measured.images, note)


def words(measured: Measured) -> str:
    """Describe the largest error, for the end of a sentence about an evaluator."""
    (i, j), error = measured.worst
    if math.isinf(error):
        return f"not finite where float64 is, or finite where it is not, at ({i}, {j})"
    return f"{error:.3g} times the bound off at ({i}, {j})"
