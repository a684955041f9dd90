"""Measures the error of a surface, compared with the definition in float64, at a few of its points.

|S - S64| <= 1e-5 (|S64| + 0.01) is required of every evaluator. No proof holds for every network, so each
surface is measured: at theta*, at its highest finite loss, and at points drawn by delta's seed, on its first images. Where an
evaluator computes a point alone, so it does here; else it gets the whole square that a point lies in, cut as in its chunk.
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
POINTS_BEFORE = 2  # theta* and a drawn one
IMAGES = 512
# Of a surface's evaluations (points times images), at most, unless so few images would be left.
SHARE = 0.05
LEAST_IMAGES = 32
SEEDLESS = 0  # draws the points where the directions are the caller's own

Point = tuple[int, int]
Losses = Float64[np.ndarray, "I J"]


@dataclass(frozen=True)
class Lattice:
    """Where a surface is evaluated: its axes, the (i, j) of theta* if that is one of its points, the side of its chunks."""

    a: Float64[np.ndarray, " I"]
    b: Float64[np.ndarray, " J"]
    home: Point | None
    chunk: int


@dataclass(frozen=True)
class Measured:
    """Errors over the bound by point, inf where one side is finite and the other isn't; `failure` says why there are none."""

    errors: Mapping[Point, float]
    images: int
    failure: str | None = None

    @property
    def worst(self) -> tuple[Point, float]:
        """The first point of the largest error."""
        point = max(self.errors, key=lambda point: self.errors[point])
        return point, self.errors[point]


class ErrorMeter:
    """Measures evaluators of one problem. What float64 gives is computed once for each point."""

    def __init__(self, problem: Problem, lattice: Lattice) -> None:
        self._problem, self._lattice = problem, lattice
        self._exact: dict[tuple[int, Point], float] = {}

    def before(self, kind: EvaluatorKind) -> Measured:
        """The errors of a pointwise evaluator at theta* and far from it, before the surface is computed."""
        return self._measure(kind, self._points(None)[:POINTS_BEFORE], None)

    def after(self, kind: EvaluatorKind, loss: Losses) -> Measured:
        """The errors of the surface `loss` [I, J] that an evaluator of `kind` has given."""
        return self._measure(kind, self._points(loss), loss)

    def plainly(self, points: Sequence[Point], images: int) -> Measured:
        """The errors of the definition in the precision of the problem itself."""
        plain = PlainEvaluator(self._problem.first(images))
        return self._compare({point: self._at(plain, point) for point in points}, images)

    def needs_no_evaluator(self) -> bool:
        """Whether a surface is measured by its own values: it has no more images than are measured, or they are one batch."""
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
        except Exception as error:  # noqa: BLE001 - whatever a user's network or loss does with numbers of float64
            return Measured({}, 0, f"the definition cannot be computed in float64 ({type(error).__name__})")
        errors = {point: over_bound(value, self._exact[images, point]) for point, value in found.items()}
        return Measured(errors, images)

    def _look_up(self, points: Sequence[Point], images: int) -> None:
        """Keep S64 of some points."""
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
        """The square's side that a point lies in: evaluators begin one every SIDE points of a chunk."""
        begin = index - index % self._lattice.chunk
        start = index - (index - begin) % SIDE
        return slice(start, min(start + SIDE, begin + self._lattice.chunk, length))


def sampled_points(lattice: Lattice, loss: Losses | None, *, seed: int | None, least: int) -> list[Point]:
    """Theta*, the highest finite loss, then what delta's `seed` draws: `least` points of a surface, or all there are."""
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
    """|S - S64| over the bound; 0 where neither is finite, inf where one is."""
    if math.isfinite(found) and math.isfinite(exact):
        return abs(found - exact) / loss_bound(exact)
    return math.inf if math.isfinite(found) or math.isfinite(exact) else 0.0


def record(measured: Measured, *, note: str | None) -> SurfaceError:
    """What is stored of it. An infinite error is no number in JSON: then words alone say it."""
    if measured.failure is not None:
        return SurfaceError(None, (), 0, f"not measured: {measured.failure}")
    worst = measured.worst[1]
    return SurfaceError(worst if math.isfinite(worst) else None, tuple(measured.errors), measured.images, note)


def words(measured: Measured) -> str:
    """The largest error, as the end of a sentence about an evaluator."""
    (i, j), error = measured.worst
    if math.isinf(error):
        return f"not finite where float64 is, or finite where it is not, at ({i}, {j})"
    return f"{error:.3g} times the bound off at ({i}, {j})"
