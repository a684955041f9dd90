"""`fused`: convolutional networks on a GPU, one kernel for a layer with all that follows it (`gpu_kernels`).

Batch norm is folded into the weights, as in `folded`. At every point the weights are formed and scaled in float64 and rounded
once, then all images go through, a large group at a time; all of it is recorded as a CUDA graph and replayed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from tmrepro.inference import count_right, image_losses
from tmrepro.surface.folding import Fold, FoldedNetwork
from tmrepro.surface.fused_layers import FusedLayer, fuse_network, places_first, round_tf32
from tmrepro.surface.gpu_kernels import IMAGES, why_unsupported
from tmrepro.surface.graph import TRIED, has_hooks
from tmrepro.surface.plain import memory_as_it_comes
from tmrepro.surface.problem import Problem
from tmrepro.surface.replayed import recorded

# Of the largest value between two layers. Small groups leave parts of a GPU without work.
LAYER_BYTES = 2**30


class FusedEvaluator:
    """See the module; `Evaluator` for the interface."""

    name = "fused"
    pointwise = True

    @staticmethod
    def unfit(problem: Problem) -> str | None:
        """See `EvaluatorKind.unfit`."""
        if problem.precision not in {"float32", "tf32"}:
            return f"its arithmetic is float32 and tf32, not {problem.precision}"
        if problem.targets.loss is not None:
            return "the loss is the caller's own"
        if (why := why_unsupported(problem.inputs.device)) is not None:
            return why
        if any(has_hooks(module) for module in problem.model.modules()):
            return "the network has hooks"
        fused = _fused(problem)
        return fused if isinstance(fused, str) else None

    @staticmethod
    def blocks(problem: Problem) -> dict[str, int]:
        """See `EvaluatorKind.blocks`."""
        fused = _fused(problem)
        assert isinstance(fused, FoldedNetwork)  # noqa: S101 - the rule has asked `unfit` before
        return {"images": _group(fused, len(problem.inputs)), "points": 1}

    def __init__(self, problem: Problem) -> None:
        fused = _fused(problem)
        if not isinstance(fused, FoldedNetwork):
            raise TypeError(fused)  # the rule has asked `unfit` before
        self._network, self._folds = fused.network, fused.folds
        self._targets, self._n = problem.targets, len(problem.inputs)
        self._group = _group(fused, self._n)
        self._images = [places_first(some) for some in torch.split(problem.inputs, self._group)]
        if problem.precision == "tf32":
            for some in self._images:
                round_tf32(some)
        device = problem.inputs.device
        owners = {fold.weight: fold.layer for fold in self._folds}
        parts = problem.by_name()
        self._parts = {
            name: _Part(
                *(part[name] if name not in owners else owners[name].own(part[name]) for part in parts),
            )
            for name in parts[0]
        }
        self._b = torch.zeros((), dtype=torch.float64, device=device)
        self._replay: Callable[[], tuple[Tensor, Tensor]] | None = None

    def block(
        self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]
    ) -> tuple[Float64[np.ndarray, "I J"], Float64[np.ndarray, "I J"]]:
        """See `Evaluator.block`."""
        losses = torch.empty(len(a), len(b), dtype=torch.float64, device=self._b.device)
        right = torch.empty_like(losses)
        with torch.no_grad(), memory_as_it_comes():
            for i, a_i in enumerate(a):
                for part in self._parts.values():
                    part.start(float(a_i))
                for j, b_j in enumerate(b):
                    self._b.fill_(float(b_j))
                    self._replay = self._replay or recorded(self._point, self._b.device)
                    loss_sum, hits = self._replay()
                    losses[i, j], right[i, j] = loss_sum, hits
        return losses.cpu().numpy() / self._n, right.cpu().numpy() / self._n

    def _point(self) -> tuple[Tensor, Tensor]:
        """The sum of all losses, and how many are right, at the point of this row and `_b`."""
        for fold in self._folds:
            self._fold(fold)
        loss_sum = torch.zeros_like(self._b)
        right = torch.zeros((), dtype=torch.int64, device=self._b.device)
        for index, images in enumerate(self._images):
            begin = index * self._group
            targets = self._targets.part(begin, min(begin + self._group, self._n))
            logits = self._network(images)[:, 0, : len(targets.values)].t().contiguous()
            loss_sum += image_losses(logits, targets).sum()
            right += count_right(logits, targets)
        return loss_sum, right

    def _fold(self, fold: Fold[FusedLayer]) -> None:
        """Put the weights at the point into a layer."""
        layer = fold.layer
        scale, bias = fold.scale_and_bias(lambda name: self._parts[name].at(self._b), layer.bias.double())
        layer.bias.copy_(bias)
        layer.weights.copy_(self._parts[fold.weight].at(self._b).mul_(scale))
        layer.round()


class _Part:
    """A parameter along a row of the grid, in float64: (theta* + a delta^) + b eta^."""

    def __init__(self, theta: Tensor, delta: Tensor, eta: Tensor) -> None:
        self._theta, self._delta, self._eta = theta, delta, eta
        self._row = theta.double()

    def start(self, a: float) -> None:
        """Begin the row of `a`."""
        self._row.copy_(self._delta).mul_(a).add_(self._theta)

    def at(self, b: Float64[Tensor, ""]) -> Float64[Tensor, ...]:
        """The parameter at b."""
        return self._eta.double().mul_(b).add_(self._row)


def _fused(problem: Problem) -> FoldedNetwork[FusedLayer] | str:
    fused = fuse_network(problem.model, problem.inputs[:TRIED], tf32=problem.precision == "tf32")
    if isinstance(fused, FoldedNetwork):
        (output,) = (node for node in fused.network.graph.nodes if node.op == "output")
        if len(output.all_input_nodes) != 1 or len(fused.sizes.get(output.all_input_nodes[0], ())) != 2:
            return "its outputs are not one vector per image"
    return fused


def _group(fused: FoldedNetwork[FusedLayer], n: int) -> int:
    """How many images go together: groups of the same size, as few as can be."""
    largest = max(4 * int(np.prod(size[1:])) for size in fused.sizes.values())
    most = max(LAYER_BYTES // largest // IMAGES, 1) * IMAGES
    groups = -(-n // most)
    return -(-n // groups // IMAGES) * IMAGES
