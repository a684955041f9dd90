"""`fused`: convolutional networks on a GPU, one kernel for a layer with all that follows it (`gpu_kernels`).

Batch norm is folded into the weights, as in `folded`. At every point the weights are formed and scaled in float64 and rounded
once. Then all images are processed, in large groups. All of this is recorded as a CUDA graph and replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from tmrepro.numerics.inference import count_right, image_losses
from tmrepro.surface.cpu.folding import Fold, FoldedNetwork, Norm
from tmrepro.surface.gpu.fused_layers import FusedLayer, fuse_network, places_first, round_tf32
from tmrepro.surface.gpu.gpu_kernels import IMAGES, why_unsupported
from tmrepro.surface.gpu.replayed import recorded
from tmrepro.surface.plain import uninitialized_memory
from tmrepro.surface.problem import Problem
from tmrepro.surface.trace import TRIED, has_hooks

# Of the largest value between two layers. Small groups do not use all of a GPU.
LAYER_BYTES = 2**30


class FusedEvaluator:
    """See the module; see `Evaluator` for the interface."""

    name = "fused"
    pointwise = True

    @staticmethod
    def why_unsupported(problem: Problem) -> str | None:
        """See `EvaluatorKind.why_unsupported`."""
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
        assert isinstance(fused, FoldedNetwork)  # noqa: S101 - the rule has called `why_unsupported` before
        return {"images": _group(fused, len(problem.inputs)), "points": 1}

    def __init__(self, problem: Problem) -> None:
        fused = _fused(problem)
        if not isinstance(fused, FoldedNetwork):
            raise TypeError(fused)  # the rule has called `why_unsupported` before
        self._network = fused.network
        self._targets, self._n = problem.targets, len(problem.inputs)
        self._group = _group(fused, self._n)
        self._images = [places_first(some) for some in torch.split(problem.inputs, self._group)]
        if problem.precision == "tf32":
            for some in self._images:
                round_tf32(some)
        self._weights = _Weights(fused.folds, problem)
        self._b = torch.zeros((), dtype=torch.float64, device=problem.inputs.device)
        self._replay: Callable[[], tuple[Tensor, Tensor]] | None = None

    def block(
        self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]
    ) -> tuple[Float64[np.ndarray, "I J"], Float64[np.ndarray, "I J"]]:
        """See `Evaluator.block`."""
        losses = torch.empty(len(a), len(b), dtype=torch.float64, device=self._b.device)
        right = torch.empty_like(losses)
        with torch.no_grad(), uninitialized_memory():
            for i, a_i in enumerate(a):
                self._weights.start(float(a_i))
                for j, b_j in enumerate(b):
                    self._b.fill_(float(b_j))
                    self._replay = self._replay or recorded(self._point, self._b.device)
                    loss_sum, hits = self._replay()
                    losses[i, j], right[i, j] = loss_sum, hits
        return losses.cpu().numpy() / self._n, right.cpu().numpy() / self._n

    def _point(self) -> tuple[Tensor, Tensor]:
        """Return the sum of all losses, and how many are right, at the point of this row and `_b`."""
        self._weights.form(self._b)
        loss_sum = torch.zeros_like(self._b)
        right = torch.zeros((), dtype=torch.int64, device=self._b.device)
        for index, images in enumerate(self._images):
            begin = index * self._group
            targets = self._targets.part(begin, min(begin + self._group, self._n))
            logits = self._network(images)[:, 0, : len(targets.values)].t().contiguous()
            loss_sum += image_losses(logits, targets).sum()
            right += count_right(logits, targets)
        return loss_sum, right


class _Weights:
    """The weights of all layers at a point, formed together, so that a network with many layers needs few kernels.

    A parameter is (theta* + a delta^) + b eta^, in float64, and is rounded once, after scaling.
    """

    def __init__(self, folds: Sequence[Fold[FusedLayer]], problem: Problem) -> None:
        self._layers = [fold.layer for fold in folds]
        self._tf32 = problem.precision == "tf32"
        self._widths = [len(layer.bias) for layer in self._layers]
        theta, delta, eta = problem.by_name()
        self._theta = _side_by_side(folds, theta, unscaled=1.0)
        self._delta, self._eta = (_side_by_side(folds, part, unscaled=0.0) for part in (delta, eta))
        self._row = self._theta.double()
        norms = [_norm_of(fold) for fold in folds]
        self._means = torch.cat([norm.mean for norm in norms])
        self._inverses = torch.cat([norm.inverse for norm in norms])
        device = problem.inputs.device
        self._biases = torch.zeros(sum(self._widths), device=device)
        for layer, bias in zip(self._layers, torch.split(self._biases, self._widths), strict=True):
            layer.bias = bias
        index = {id(layer): k for k, layer in enumerate(self._layers)}
        self._taken = {index[id(layer.taken)]: k for k, layer in enumerate(self._layers) if layer.taken is not None}
        holders = [layer for k, layer in enumerate(self._layers) if k not in self._taken]
        self._matrices = torch.zeros(sum(layer.matrix.numel() for layer in holders), device=device)
        matrices = torch.split(self._matrices, [layer.matrix.numel() for layer in holders])
        for layer, matrix in zip(holders, matrices, strict=True):
            layer.hold(matrix.view_as(layer.matrix))

    def start(self, a: float) -> None:
        """Set the row to `a`."""
        self._row.copy_(self._delta).mul_(a).add_(self._theta)

    def form(self, b: Float64[Tensor, ""]) -> None:
        """Write the weights at b into the layers."""
        point = self._eta.double().mul_(b).add_(self._row)
        outputs = len(self._biases)
        weights, biases, scales, shifts = torch.split(point, [len(point) - 3 * outputs, outputs, outputs, outputs])
        factors = self._inverses * scales
        biases = (biases - self._means) * factors + shifts
        each_bias = torch.split(biases, self._widths)
        for taken, holder in self._taken.items():
            each_bias[holder].add_(each_bias[taken])
        self._biases.copy_(biases)
        each = torch.split(weights, [layer.weights.numel() for layer in self._layers])
        for layer, values, factor in zip(self._layers, each, torch.split(factors, self._widths), strict=True):
            torch.mul(values.view_as(layer.weights), factor, out=layer.weights)
        if self._tf32:
            round_tf32(self._matrices)


def _side_by_side(
    folds: Sequence[Fold[FusedLayer]], part: Mapping[str, Tensor], *, unscaled: float
) -> Float32[Tensor, " n"]:
    """Return theta*, delta^ or eta^ in the order of `_Weights`: all weights, all biases, all norms' weights, all norms' biases.

    `unscaled` is used for layers without a norm's weight, 0 for other missing parameters.
    """

    def vectors(names: Iterable[str | None], absent: float = 0.0) -> list[Tensor]:
        return [
            torch.full_like(fold.layer.bias, absent) if name is None else part[name]
            for fold, name in zip(folds, names, strict=True)
        ]

    return torch.cat(
        [
            *(fold.layer.own(part[fold.weight]).flatten() for fold in folds),
            *vectors(fold.bias for fold in folds),
            *vectors((fold.norm.weight if fold.norm else None for fold in folds), unscaled),
            *vectors(fold.norm.bias if fold.norm else None for fold in folds),
        ]
    )


def _norm_of(fold: Fold[FusedLayer]) -> Norm:
    """Return its batch norm, or an identity."""
    zero = torch.zeros_like(fold.layer.bias).double()
    return fold.norm or Norm(None, None, zero, zero + 1)


def _fused(problem: Problem) -> FoldedNetwork[FusedLayer] | str:
    fused = fuse_network(problem.trace, problem.inputs[:TRIED], tf32=problem.precision == "tf32")
    if isinstance(fused, FoldedNetwork):
        (output,) = (node for node in fused.network.graph.nodes if node.op == "output")
        if len(output.all_input_nodes) != 1 or len(fused.sizes.get(output.all_input_nodes[0], ())) != 2:
            return "its outputs are not one vector per image"
    return fused


def _group(fused: FoldedNetwork[FusedLayer], n: int) -> int:
    """Return the number of images in a group: as few groups as possible, of equal size."""
    largest = max(4 * int(np.prod(size[1:])) for size in fused.sizes.values())
    most = max(LAYER_BYTES // largest // IMAGES, 1) * IMAGES
    groups = -(-n // most)
    return -(-n // groups // IMAGES) * IMAGES
