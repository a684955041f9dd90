"""Images in tiles, each computed by one thread: the common part of evaluators that cut a network after a linear layer.

A rule gives the size of tiles from the network, and tiles are summed in order, so the bits do not depend on the number of
threads.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from tmrepro.numerics.inference import clip_bounds, image_losses
from tmrepro.surface.cpu.geometry import Geometry
from tmrepro.surface.cpu.tail import SIDE, Row, Tail
from tmrepro.surface.graph import Cut, apply_layer, layer_of, names_in
from tmrepro.surface.plain import PlainEvaluator
from tmrepro.surface.problem import Problem

# Of the first layer's outputs, if those of all images fit; else each square recomputes them.
KEPT_BYTES = 192 * 2**20
FARTHEST = 1e15  # for larger coordinates, products with a unit's outputs may be infinities of both signs, which cancel
LEAST_POINTS = 9  # the start costs three products by the first layer and nine by the second: fewer points save nothing

Square = tuple[Float64[np.ndarray, "I J"], Float64[np.ndarray, "I J"]]
Three = tuple[Tensor, Tensor, Tensor]


class TiledEvaluator(ABC):
    """An evaluator by tiles. A subclass defines the number of images of a tile, and their outputs in a square."""

    def __init__(self, problem: Problem, cut: Cut, *, geometry: Geometry) -> None:
        from tmrepro.surface.cpu import kernels  # numba loads only when it is used

        self._kernels = kernels
        self._problem, self._cut, self._size = problem, cut, geometry.tile
        self._classes = problem.targets.classes.numpy()
        self._plain: PlainEvaluator | None = None
        self._parts = problem.by_name()
        names = names_in(cut.tail, of=cut.network)
        self._tail = Tail(cut.tail, names=names, parameters=self._parts, size=geometry.size)
        self._kept: dict[tuple[int, int], Three] = {}
        self._keeps = 12 * geometry.units * len(problem.inputs) <= KEPT_BYTES

    def block(self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]) -> Square:
        """See `Evaluator.block`."""
        loss, accuracy = np.empty((len(a), len(b))), np.empty((len(a), len(b)))
        if np.any(b[1:] < b[:-1]):  # a unit changes its state at most once only if b is ascending
            order = np.argsort(b, kind="stable")
            loss[:, order], accuracy[:, order] = self.block(a, b[order])
            return loss, accuracy
        for i, j in itertools.product(range(0, len(a), SIDE), range(0, len(b), SIDE)):
            rows, columns = slice(i, i + SIDE), slice(j, j + SIDE)
            loss[rows, columns], accuracy[rows, columns] = self._square(a[rows], b[columns])
        return loss, accuracy

    @abstractmethod
    def _rows(
        self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]
    ) -> Callable[[int, int, Callable[[int], Row], Callable[[int, Tensor], None]], None]:
        """Return a function (begin, end, points, take) that calls `take` with each row's logits [J, C, T] of these images."""

    def _square(self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]) -> Square:
        if len(a) * len(b) < LEAST_POINTS or max(np.abs(a).max(), np.abs(b).max()) > FARTHEST:
            return self._by_definition(a, b)
        n = len(self._problem.inputs)
        rows, points = self._rows(a, b), self._tail.points(a, b)

        def tile(begin: int, end: int) -> Square:
            losses, right = np.empty((len(a), len(b))), np.empty((len(a), len(b)))

            def take(i: int, logits: Tensor) -> None:
                losses[i], right[i] = self._losses(logits, begin, end)

            with torch.no_grad():
                rows(begin, end, points, take)
            return losses, right

        parts = [(begin, min(begin + self._size, n)) for begin in range(0, n, self._size)]
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # each thread has its own tiles, and must not split their work again
        try:
            # Otherwise MKL's own settings would split the first product of a thread.
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                try:
                    if self._keeps and not self._kept:
                        # One thread loads the kernels with one image, whose result is ignored, while the others multiply.
                        loading = pool.submit(tile, 0, 1)
                        for one in [pool.submit(self._first_outputs, *part) for part in parts]:
                            one.result()
                        loading.result()
                    found = [done.result() for done in [pool.submit(tile, *part) for part in parts]]
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
        finally:
            torch.set_num_threads(threads)
        losses, right = (np.sum([one[k] for one in found], axis=0) for k in range(2))
        if not np.isfinite(losses).all():
            # An infinite value stays in sums that are continued, so the definition is needed here.
            return self._by_definition(a, b)
        return losses / n, right / n

    def _by_definition(self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]) -> Square:
        self._plain = self._plain or PlainEvaluator(self._problem)
        return self._plain.block(a, b)

    def _first_outputs(self, begin: int, end: int) -> Three:
        """Return the first layer's outputs under theta*, delta^ and eta^, of the images `begin` up to `end`."""
        if (begin, end) in self._kept:
            return self._kept[begin, end]
        x = self._cut.before(self._problem.inputs[begin:end])
        one, two, three = (
            apply_layer(self._cut.first, x, *layer_of(parts, self._cut.first_name)) for parts in self._parts
        )
        if self._keeps:
            self._kept[begin, end] = one, two, three
        return one, two, three

    def _losses(
        self, logits: Float[Tensor, "J C T"], begin: int, end: int
    ) -> tuple[Float64[np.ndarray, " J"], Float64[np.ndarray, " J"]]:
        """Return sums of the losses, and how many are right, at each point of a row. Losses are float64 from the logits on."""
        logits = logits.contiguous()
        J, _, T = logits.shape
        targets = self._problem.targets.part(begin, end)
        shifted, picked, right, sums = np.empty(logits.shape), np.empty((J, T)), np.empty(J), np.empty(J)
        self._kernels.shift(logits.numpy(), self._classes[begin:end], shifted, picked, right)
        if targets.soft:
            return torch.stack([image_losses(row.t(), targets) for row in logits]).sum(1).numpy(), right
        torch.from_numpy(shifted).exp_()
        each = np.empty((J, T))
        self._kernels.sum_classes(shifted, each)
        torch.from_numpy(each).log_()
        self._kernels.sum_losses(each, picked, *clip_bounds(targets.clip), sums)
        return sums, right


def why_not_in_tiles(problem: Problem) -> str | None:
    """Return why no evaluator of this kind can evaluate `problem`, for any network; None if one may."""
    if problem.inputs.device.type != "cpu":
        return "it computes on the CPU"
    if problem.precision != "float32":
        return f"it computes in float32, not {problem.precision}"
    if problem.targets.loss is not None:
        return "the loss is the caller's own"
    if not problem.inputs.is_floating_point():
        return "the inputs are not floating point numbers"
    return None
