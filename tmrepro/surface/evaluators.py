"""How the loss at a block of grid points is computed. One interface; a faster evaluator plugs in beside the plain one.

An evaluator may reorder arithmetic, never change it: design section 3 bounds |S - S64| by 1e-5 (|S64| + 0.01) against the
definition in float64, which `PlainEvaluator` with precision float64 is, word for word.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol, assert_never, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float64, Shaped
from torch import Tensor, nn

from tmrepro.directions import DirectionPair
from tmrepro.errors import UsageError
from tmrepro.inference import EVALUATION_BATCH, Targets, count_right, image_losses
from tmrepro.parameters import theta_of

Precision = Literal["float32", "float64", "tf32", "bfloat16"]


@dataclass(frozen=True)
class Problem:
    """What a surface is of: a model that holds theta* (eval mode), its directions, images [n, ...] and labels."""

    model: nn.Module
    directions: DirectionPair
    inputs: Shaped[Tensor, "n ..."]
    targets: Targets
    precision: Precision


@runtime_checkable
class Evaluator(Protocol):
    """Losses and accuracies at the points a x b of a block of the grid."""

    name: str

    def block(
        self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]
    ) -> tuple[Float64[np.ndarray, "I J"], Float64[np.ndarray, "I J"]]:
        """loss[i, j] (mean over the images, nats) and accuracy[i, j] at theta* + a[i] delta^ + b[j] eta^."""
        ...


class PlainEvaluator:
    """The definition itself: form theta_ij afresh, put it into the model, run all images through it."""

    name = "plain"

    def __init__(self, problem: Problem) -> None:
        self._precision = problem.precision
        self._model = copy.deepcopy(problem.model).eval()
        self._inputs = problem.inputs
        self._targets = problem.targets
        if self._precision == "float64":
            self._model = self._model.double()
            self._inputs = self._inputs.double() if self._inputs.is_floating_point() else self._inputs
        theta = torch.from_numpy(theta_of(problem.model))
        self._theta, self._delta, self._eta, self._row = (
            vector.to(self._inputs.device, torch.float64)
            for vector in (
                theta,
                torch.from_numpy(problem.directions.delta),
                torch.from_numpy(problem.directions.eta),
                theta,
            )
        )
        largest = max(value.numel() for value in self._model.parameters())
        self._scratch = torch.empty(largest, dtype=torch.float64, device=self._inputs.device)

    def block(
        self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]
    ) -> tuple[Float64[np.ndarray, "I J"], Float64[np.ndarray, "I J"]]:
        """See `Evaluator.block`."""
        loss = np.empty((len(a), len(b)))
        accuracy = np.empty((len(a), len(b)))
        for i, a_i in enumerate(a):
            torch.mul(self._delta, float(a_i), out=self._row).add_(self._theta)
            for j, b_j in enumerate(b):
                self._move(float(b_j))
                loss[i, j], accuracy[i, j] = self._point()
        return loss, accuracy

    def _move(self, b: float) -> None:
        """Put (theta* + a delta^) + b eta^ into the model: formed in float64, rounded once, parameter by parameter.

        There are no running sums, which drift. A product and a sum, never fused, so that numpy gives the same bits.
        """
        offset = 0
        with torch.no_grad():
            for value in self._model.parameters():
                part = slice(offset, offset + value.numel())
                moved = torch.mul(self._eta[part], b, out=self._scratch[: value.numel()]).add_(self._row[part])
                value.copy_(moved.view(value.shape))
                offset = part.stop

    def _point(self) -> tuple[float, float]:
        loss_sum = torch.zeros((), dtype=torch.float64, device=self._inputs.device)
        right = torch.zeros((), dtype=torch.int64, device=self._inputs.device)
        n = len(self._inputs)
        with torch.no_grad(), self._arithmetic():
            for begin in range(0, n, EVALUATION_BATCH):
                end = min(begin + EVALUATION_BATCH, n)
                targets = self._targets.part(begin, end)
                logits = self._model(self._inputs[begin:end])
                loss_sum += image_losses(logits, targets).sum()
                right += count_right(logits, targets)
        return float(loss_sum) / n, int(right) / n

    @contextmanager
    def _arithmetic(self) -> Iterator[None]:
        match self._precision:
            case "float64" | "float32":
                yield
            case "tf32":
                # A CPU has no TF32: there this is float32.
                allowed = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
                torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
                try:
                    yield
                finally:
                    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = allowed
            case "bfloat16":
                with torch.autocast(self._inputs.device.type, dtype=torch.bfloat16):
                    yield
            case _:
                assert_never(self._precision)


EVALUATORS: dict[str, type[PlainEvaluator]] = {PlainEvaluator.name: PlainEvaluator}


def choose_evaluator(problem: Problem, *, forced: str | None = None) -> Evaluator:
    """The evaluator for a problem: by rule, never by timing, or the one that was `forced` by name."""
    return find_evaluator(forced)(problem)


def find_evaluator(forced: str | None) -> type[PlainEvaluator]:
    """The evaluator called `forced`, or the one by rule.

    Raises:
        UsageError: there is none of that name.
    """
    name = PlainEvaluator.name if forced is None else forced
    if name not in EVALUATORS:
        raise UsageError(f"there is no evaluator {name!r}: choose one of {', '.join(EVALUATORS)}")
    return EVALUATORS[name]
