"""`folded`: networks with batch norm, on a CPU. Batch norm in eval mode is a scale and a shift, folded into the weights.

At every point, the weights of each layer are formed and scaled in float64, and rounded once. Images are processed in blocks,
in channels-last order. Each layer is one product of oneDNN with the operations that follow it (see `layers`).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from tmrepro.numerics.inference import EVALUATION_BATCH, accuracies, count_right, image_losses
from tmrepro.surface.cpu.folding import Fold, FoldedNetwork, fold_network, has_norms
from tmrepro.surface.cpu.layers import Layer, is_supported, make_layer
from tmrepro.surface.plain import uninitialized_memory
from tmrepro.surface.problem import Problem
from tmrepro.surface.trace import TRIED

BLOCK = EVALUATION_BATCH
# Weights are formed in pieces that stay in a core's cache between the steps.
PIECE = 2**17


class FoldedEvaluator:
    """See the module; see `Evaluator` for the interface."""

    name = "folded"
    pointwise = True

    @staticmethod
    def why_unsupported(problem: Problem) -> str | None:
        """See `EvaluatorKind.why_unsupported`."""
        if problem.precision != "float32":
            return f"its arithmetic is float32, not {problem.precision}"
        if problem.inputs.device.type != "cpu":
            return f"it computes on a CPU, not on {problem.inputs.device.type}"
        if not is_supported():
            return "this torch has no oneDNN"
        if not has_norms(problem.model):
            return "the network has no batch norm"
        folded = fold_network(problem.trace, problem.inputs[:TRIED], make_layer)
        if isinstance(folded, str):
            return folded
        has_norm = any(fold.norm for fold in folded.folds)
        return None if has_norm else "it has no batch norm behind a convolution or matrix"

    @staticmethod
    def blocks(problem: Problem) -> dict[str, int]:  # noqa: ARG004 - the interface's
        """See `EvaluatorKind.blocks`."""
        return {"images": BLOCK, "points": 1}

    def __init__(self, problem: Problem) -> None:
        folded = fold_network(problem.trace, problem.inputs[:TRIED], make_layer)
        if not isinstance(folded, FoldedNetwork):
            raise TypeError(folded)  # the rule has called `why_unsupported` before
        self._network, self._folds, self._others = folded.network, folded.folds, folded.others
        self._inputs, self._targets = problem.inputs, problem.targets
        if self._inputs.ndim == 4:
            self._inputs = self._inputs.contiguous(memory_format=torch.channels_last)
        weights = {fold.weight: fold.layer for fold in self._folds}
        parts = problem.by_name()
        widest = max(fold.layer.weights[0].numel() for fold in self._folds)
        scratch = torch.empty(max(PIECE, widest), dtype=torch.float64)
        self._parts = {
            name: _Part([part[name] for part in parts], layer=weights.get(name), scratch=scratch) for name in parts[0]
        }

    def block(
        self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]
    ) -> tuple[Float64[np.ndarray, "I J"], Float64[np.ndarray, "I J"]]:
        """See `Evaluator.block`."""
        loss = np.empty((len(a), len(b)))
        right = np.empty((len(a), len(b)))
        with torch.no_grad(), uninitialized_memory():
            for i, a_i in enumerate(a):
                for part in self._parts.values():
                    part.start(float(a_i))
                for j, b_j in enumerate(b):
                    self._move(float(b_j))
                    loss[i, j], right[i, j] = self._point()
        return loss, accuracies(right, self._targets, images=len(self._inputs))

    def _move(self, b: float) -> None:
        """Set the weights of the network to (theta* + a delta^) + b eta^."""
        for name, value in self._others.items():
            value.copy_(self._parts[name].at(b))
        for fold in self._folds:
            self._fold(fold, b)

    def _fold(self, fold: Fold[Layer], b: float) -> None:
        layer = fold.layer
        scale, bias = fold.scale_and_bias(lambda name: self._parts[name].at(b), layer.bias.double())
        layer.bias.copy_(bias)
        self._parts[fold.weight].put(b, layer, scale=scale)
        layer.arrange()

    def _point(self) -> tuple[float, int]:
        loss_sum = torch.zeros((), dtype=torch.float64)
        right = torch.zeros((), dtype=torch.int64)
        n = len(self._inputs)
        for begin in range(0, n, BLOCK):
            end = min(begin + BLOCK, n)
            targets = self._targets.part(begin, end)
            logits = self._network(self._inputs[begin:end])
            loss_sum += image_losses(logits, targets).sum()
            right += count_right(logits, targets)
        return float(loss_sum) / n, int(right)


class _Part:
    """A parameter along a row of the grid, in float64: (theta* + a delta^) + b eta^, in the order of its layer's weights."""

    def __init__(self, vectors: list[Tensor], *, layer: Layer | None, scratch: Float64[Tensor, " n"]) -> None:
        self._theta, self._delta, self._eta = (value if layer is None else layer.own(value) for value in vectors)
        self._row = torch.empty_like(self._theta, dtype=torch.float64)
        self._scratch = scratch

    def start(self, a: float) -> None:
        """Set the row to `a`."""
        theta, delta, row = (value.reshape(-1) for value in (self._theta, self._delta, self._row))
        for begin in range(0, len(row), PIECE):
            some = slice(begin, min(begin + PIECE, len(row)))
            piece = self._scratch[: some.stop - begin]
            piece.copy_(theta[some])
            row[some].copy_(delta[some]).mul_(a).add_(piece)

    def at(self, b: float) -> Float64[Tensor, ...]:
        """Return the parameter at b."""
        return self._eta.double().mul_(b).add_(self._row)

    def put(self, b: float, layer: Layer, *, scale: Float64[Tensor, " out"]) -> None:
        """Write the parameter at b, times the `scale` of each output, into the weights of its layer."""
        weights: Float32[Tensor, ...] = layer.weights
        by_output = scale.repeat(weights.shape[0]) if layer.taps_first else scale
        columns = weights.numel() // len(by_output)
        eta, row, out = (value.view(-1, columns) for value in (self._eta, self._row, weights))
        rows = max(1, PIECE // columns)
        for begin in range(0, len(out), rows):
            some = slice(begin, min(begin + rows, len(out)))
            piece = self._scratch[: (some.stop - begin) * columns].view(-1, columns)
            piece.copy_(eta[some]).mul_(b).add_(row[some]).mul_(by_output[some, None])
            out[some].copy_(piece)
