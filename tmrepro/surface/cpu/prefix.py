"""The linear prefix: the first layer's outputs are linear in (a, b), so three products per image are enough for the whole grid.

z(a, b) = A0 + a A1 + b A2, where A0, A1, A2 are the first layer's outputs under theta*, delta^ and eta^. The layers after it
run at every point, as in the plain evaluator. Images are in groups whose A fit into memory. A rule gives the size of a
group from the network, and sums are added in order.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from tmrepro.numerics.inference import EVALUATION_BATCH, accuracies, count_right, image_losses
from tmrepro.surface.graph import Cut, apply_layer, cut_behind_first, layer_of, names_in
from tmrepro.surface.plain import PlainEvaluator
from tmrepro.surface.problem import Problem
from tmrepro.surface.trace import Uncut

GROUP_BYTES = 192 * 2**20  # of the A0, A1 and A2 of one group
LEAST_INPUTS = 16  # per output of the first layer; with fewer, three products and two sums save nothing

Block = tuple[Float64[np.ndarray, "I J"], Float64[np.ndarray, "I J"]]
Three = tuple[Tensor, Tensor, Tensor]


class PrefixEvaluator:
    """See the module. Float32 and float64 on the CPU, any loss, and anything after the first layer."""

    name = "prefix"
    pointwise = True

    @staticmethod
    def why_unsupported(problem: Problem) -> str | None:
        """Return why it cannot evaluate `problem`; None if it can."""
        if problem.inputs.device.type != "cpu":
            return "it computes on the CPU"
        if problem.precision not in {"float32", "float64"}:
            return f"it computes in float32 and float64, not {problem.precision}"
        cut = first_cut(problem)
        if isinstance(cut, str):
            return cut
        if cut.first.weight[0].numel() < LEAST_INPUTS:
            return f"its first layer has fewer than {LEAST_INPUTS} inputs to an output, and gains nothing"
        return None

    @staticmethod
    def blocks(problem: Problem) -> dict[str, int]:
        """See `EvaluatorKind.blocks`. The outputs of `group` images are kept at once, and their losses summed."""
        cut = cut_behind_first(problem.traced())
        return {"images": EVALUATION_BATCH, "points": 1, "group": _group(problem, cut)}

    def __init__(self, problem: Problem) -> None:
        self._dtype = _dtype(problem)
        self._inputs, self._targets = problem.inputs, problem.targets
        if problem.precision == "float64":
            self._targets = self._targets.widened()
        self._cut = cut_behind_first(problem.traced())
        self._before = copy.deepcopy(self._cut.before).to(self._dtype)
        parts = problem.by_name()
        self._first = [
            layer_of({name: value.to(self._dtype) for name, value in part.items()}, self._cut.first_name)
            for part in parts
        ]
        names = names_in(self._cut.tail, of=self._cut.network)
        self._moving = [tuple(part[name].double() for part in parts) for name in names.values()]
        tail = copy.deepcopy(self._cut.tail).to(self._dtype)
        self._tail, self._parameters = tail, [tail.get_parameter(name) for name in names]
        self._group = _group(problem, self._cut)
        self._kept: list[Three] | None = None
        self._problem = problem
        self._plain: PlainEvaluator | None = None

    def block(self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]) -> Block:
        """See `Evaluator.block`."""
        n = len(self._inputs)
        loss, right = np.zeros((len(a), len(b))), np.zeros((len(a), len(b)))
        with torch.no_grad():
            for begin in range(0, n, self._group):
                end = min(begin + self._group, n)
                outputs = self._outputs_of(begin, end)
                for i, alpha in enumerate(self._rounded(a)):
                    rows = [delta * float(a[i]) + theta for theta, delta, _ in self._moving]
                    firsts = [torch.add(z0, z1, alpha=alpha) for z0, z1, _ in outputs]
                    for j, beta in enumerate(self._rounded(b)):
                        self._move(rows, float(b[j]))
                        z = (
                            torch.add(first, z2, alpha=beta) for first, (_, _, z2) in zip(firsts, outputs, strict=True)
                        )
                        more = self._point(z, begin, end)
                        loss[i, j] += more[0]
                        right[i, j] += more[1]
        loss, accuracy = loss / n, accuracies(right, self._targets, images=n)
        for i, j in np.argwhere(~np.isfinite(loss)):  # inf + inf and inf - inf depend on the order
            self._plain = self._plain or PlainEvaluator(self._problem)
            loss[i, j], accuracy[i, j] = (value.item() for value in self._plain.block(a[i : i + 1], b[j : j + 1]))
        return loss, accuracy

    def _rounded(self, axis: Float64[np.ndarray, " I"]) -> list[float]:
        """Return coordinates in the precision of the products. Too large ones become infinity, because torch would raise."""
        found: list[float] = torch.from_numpy(axis).to(self._dtype).tolist()
        return found

    def _move(self, rows: list[Tensor], b: float) -> None:
        """Set the parameters of the tail to (theta* + a delta^) + b eta^, formed in float64 and rounded once, as in `plain`."""
        for value, row, (_, _, eta) in zip(self._parameters, rows, self._moving, strict=True):
            value.copy_(eta * b + row)

    def _point(self, z: Iterator[Tensor], begin: int, end: int) -> tuple[float, int]:
        """Return the sum of the losses, and how many are right, of the images `begin` up to `end`."""
        loss_sum, right = torch.zeros((), dtype=torch.float64), 0
        for start, outputs in zip(range(begin, end, EVALUATION_BATCH), z, strict=True):
            targets = self._targets.part(start, min(start + EVALUATION_BATCH, end))
            logits = self._tail(outputs)
            loss_sum += image_losses(logits, targets).sum()
            right += int(count_right(logits, targets))
        return float(loss_sum), right

    def _outputs_of(self, begin: int, end: int) -> list[Three]:
        """Return A0, A1 and A2 of each batch of the group. If there is only one group, they are kept between blocks."""
        if self._kept is not None:
            return self._kept
        starts = range(begin, end, EVALUATION_BATCH)
        found = [self._outputs(start, min(start + EVALUATION_BATCH, end)) for start in starts]
        if len(self._inputs) <= self._group:
            self._kept = found
        return found

    def _outputs(self, begin: int, end: int) -> Three:
        x = self._before(self._inputs[begin:end].to(self._dtype))
        one, two, three = (apply_layer(self._cut.first, x, weight, bias) for weight, bias in self._first)
        return one, two, three


def first_cut(problem: Problem) -> Cut | str:
    """Return the network cut after its first layer, or why it cannot be cut for such images."""
    if not problem.inputs.is_floating_point():
        return "the inputs are not floating point numbers"
    try:
        return cut_behind_first(problem.traced())
    except Uncut as reason:
        return str(reason)


def _dtype(problem: Problem) -> torch.dtype:
    return torch.float64 if problem.precision == "float64" else torch.float32


def _group(problem: Problem, cut: Cut) -> int:
    """Return the number of images whose A0, A1 and A2 are kept at once: as many whole batches as fit."""
    with torch.no_grad():
        units: int = cut.first(cut.before(problem.inputs[:1])).numel()
    batches = GROUP_BYTES // (3 * units * EVALUATION_BATCH * _dtype(problem).itemsize)
    return max(batches, 1) * EVALUATION_BATCH
