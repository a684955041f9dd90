"""The linear prefix with many points at once, for devices that are efficient for large products: a row of points is a batch.

As in `prefix`, the first layer's outputs are A0 + a A1 + b A2, from three float32 products per image. If a chain of matrices
follows, the outputs of a row's points are a batch of matrix products, each with the weights of its point.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from tmrepro.numerics.inference import Targets, image_losses
from tmrepro.surface.cpu.chain import chain_of
from tmrepro.surface.cpu.prefix import first_cut
from tmrepro.surface.cpu.tail import Tail
from tmrepro.surface.graph import Cut, apply_layer, cut_behind_first, layer_of, names_in
from tmrepro.surface.plain import PlainEvaluator, arithmetic
from tmrepro.surface.problem import Problem

POINTS = 16  # of a row, at most; larger batches gain nothing
VALUES_BYTES = 512 * 2**20  # of the first layer's outputs at all points of a row


class BatchedEvaluator:
    """See the module. Float32 and lower precisions, on any device; cross entropy of hard or soft labels."""

    name = "batched"
    pointwise = False

    @staticmethod
    def why_unsupported(problem: Problem) -> str | None:
        """See `EvaluatorKind.why_unsupported`."""
        if problem.precision == "float64":
            return "it computes in float32 and below"
        if problem.targets.loss is not None:
            return "the loss is the caller's own"
        cut = first_cut(problem)
        if isinstance(cut, str):
            return cut
        outputs = _first_outputs(problem, cut)
        if outputs.ndim != 2 or chain_of(cut.tail, size=None) is None:
            return "what follows its first layer is no chain of matrices"
        return None

    @staticmethod
    def blocks(problem: Problem) -> dict[str, int]:
        """See `EvaluatorKind.blocks`."""
        cut = cut_behind_first(problem.traced())
        return {"images": _images(_first_outputs(problem, cut)), "points": POINTS}

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._cut = cut = cut_behind_first(problem.traced())
        self._group = _images(_first_outputs(problem, cut))
        self._parts = problem.by_name()
        self._tail = Tail(cut.tail, names=names_in(cut.tail, of=cut.network), parameters=self._parts, size=None)
        self._plain: PlainEvaluator | None = None

    def block(
        self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]
    ) -> tuple[Float64[np.ndarray, "I J"], Float64[np.ndarray, "I J"]]:
        """See `Evaluator.block`."""
        n = len(self._problem.inputs)
        losses = torch.zeros(len(a), len(b), dtype=torch.float64, device=self._problem.inputs.device)
        right = torch.zeros_like(losses)
        with torch.no_grad():
            for begin in range(0, n, self._group):
                end = min(begin + self._group, n)
                targets = self._problem.targets.part(begin, end)
                x = self._cut.before(self._problem.inputs[begin:end])
                first = [apply_layer(self._cut.first, x, *layer_of(part, self._cut.first_name)) for part in self._parts]
                for start in range(0, len(b), POINTS):
                    columns = slice(start, start + POINTS)
                    points = self._tail.points(a, b[columns])
                    betas = torch.from_numpy(b[columns]).to(x.device, x.dtype)[:, None, None]
                    for i, alpha in enumerate(torch.from_numpy(a).to(x.dtype).tolist()):
                        z = torch.addcmul(first[0] + alpha * first[1], betas, first[2])
                        with arithmetic(self._problem.precision, x.device):
                            logits = self._tail(z, points(i)).transpose(1, 2)
                        more, hits = _sums(logits, targets)
                        losses[i, columns] += more
                        right[i, columns] += hits
        loss, accuracy = (sums.cpu().numpy() / n for sums in (losses, right))
        for i, j in np.argwhere(~np.isfinite(loss)):  # inf + inf and inf - inf depend on the order
            self._plain = self._plain or PlainEvaluator(self._problem)
            loss[i, j], accuracy[i, j] = (value.item() for value in self._plain.block(a[i : i + 1], b[j : j + 1]))
        return loss, accuracy


def _sums(logits: Float[Tensor, "J T C"], targets: Targets) -> tuple[Float64[Tensor, " J"], Float64[Tensor, " J"]]:
    """Return sums of the losses, and how many are right, at each point."""
    J, T = logits.shape[:2]
    repeated = Targets(targets.values.repeat(J, *(1,) * (targets.values.ndim - 1)), targets.clip)
    flat = logits.flatten(0, 1)
    right = (flat.argmax(1) == repeated.classes).view(J, T).sum(1)
    return image_losses(flat, repeated).view(J, T).sum(1), right.double()


def _first_outputs(problem: Problem, cut: Cut) -> Tensor:
    with torch.no_grad():
        outputs: Tensor = cut.first(cut.before(problem.inputs[:1]))
    return outputs


def _images(outputs: Float[Tensor, "1 ..."]) -> int:
    """Return the number of images in a group, from the outputs of one image."""
    return max(VALUES_BYTES // (POINTS * outputs.nbytes), 1)
