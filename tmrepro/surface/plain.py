"""The plain evaluator: slow and simple. All faster ones are compared with it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, assert_never

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from tmrepro.errors import UsageError
from tmrepro.networks.parameters import theta_of
from tmrepro.numerics.inference import EVALUATION_BATCH, accuracies, count_right, image_losses
from tmrepro.surface.problem import Precision, Problem


class PlainEvaluator:
    """The definition: form theta_ij anew, put it into the model, and run all images through it."""

    name = "plain"
    pointwise = True

    @staticmethod
    def why_unsupported(problem: Problem) -> str | None:  # noqa: ARG004 - the interface's
        """Return None: it evaluates everything."""
        return None

    @staticmethod
    def blocks(problem: Problem) -> dict[str, int]:
        """See `EvaluatorKind.blocks`."""
        return {"images": len(problem.inputs) if problem.whole else EVALUATION_BATCH, "points": 1}

    def __init__(self, problem: Problem) -> None:
        self._group = self.blocks(problem)["images"]
        self._precision = problem.precision
        self._model = copy.deepcopy(problem.model).eval()
        self._inputs = problem.inputs
        self._targets = problem.targets
        self._changes_inputs = problem.conduct.changes_inputs
        if self._precision == "float64":
            self._model = self._model.double()
            self._targets = self._targets.widened()
            self._inputs = self._inputs.double() if self._inputs.is_floating_point() else self._inputs
        self._version = self._inputs._version  # noqa: SLF001 - torch has no public attribute
        self._theta, self._delta, self._eta = (
            torch.from_numpy(vector).to(self._inputs.device, torch.float64)
            for vector in (theta_of(problem.model), problem.directions.delta, problem.directions.eta)
        )
        self._row = torch.empty_like(self._theta)
        largest = max(value.numel() for value in self._model.parameters())
        self._scratch = torch.empty(largest, dtype=torch.float64, device=self._inputs.device)

    def block(
        self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]
    ) -> tuple[Float64[np.ndarray, "I J"], Float64[np.ndarray, "I J"]]:
        """See `Evaluator.block`."""
        loss = np.empty((len(a), len(b)))
        right = np.empty((len(a), len(b)))
        for i, a_i in enumerate(a):
            torch.mul(self._delta, float(a_i), out=self._row).add_(self._theta)
            for j, b_j in enumerate(b):
                self._move(float(b_j))
                loss[i, j], right[i, j] = self._point()
        return loss, accuracies(right, self._targets, images=len(self._inputs))

    def _move(self, b: float) -> None:
        """Set the model to (theta* + a delta^) + b eta^: formed in float64, rounded once, parameter by parameter.

        There are no running sums, which drift. Product and sum are not fused, so that numpy gives the same bits.
        """
        offset = 0
        with torch.no_grad():
            for value in self._model.parameters():
                part = slice(offset, offset + value.numel())
                moved = torch.mul(self._eta[part], b, out=self._scratch[: value.numel()]).add_(self._row[part])
                value.copy_(moved.view(value.shape))
                offset = part.stop

    def _point(self) -> tuple[float, int]:
        loss_sum, right = self._sums()
        return float(loss_sum) / len(self._inputs), int(right)

    def _sums(self) -> tuple[Tensor, Tensor]:
        """Return the sum of all losses, and how many are right, at the present point of the model."""
        loss_sum = torch.zeros((), dtype=torch.float64, device=self._inputs.device)
        right = torch.zeros((), dtype=torch.int64, device=self._inputs.device)
        n = len(self._inputs)
        with torch.no_grad(), arithmetic(self._precision, self._inputs.device):
            for begin in range(0, n, self._group):
                end = min(begin + self._group, n)
                targets = self._targets.part(begin, end)
                batch = self._inputs[begin:end]
                logits = self._model(batch.clone() if self._changes_inputs else batch)
                right += count_right(logits, targets)
                loss_sum += image_losses(logits, targets).sum()
        if self._inputs._version != self._version:  # noqa: SLF001 - torch has no public attribute
            raise UsageError("the network changes its inputs in place for some of them: let its forward work on a copy")
        return loss_sum, right


@contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """Set the precision of products. For float64, the model must be in float64 already."""
    match precision:
        case "float32":
            yield
        case "float64":
            # Tensors that a forward creates, for example by torch.zeros, are float64 too.
            before = torch.get_default_dtype()
            torch.set_default_dtype(torch.float64)
            try:
                yield
            finally:
                torch.set_default_dtype(before)
        case "tf32":
            # A CPU has no TF32, and uses float32.
            allowed = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
            try:
                yield
            finally:
                torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = allowed
        case "bfloat16":
            torch.clear_autocast_cache()  # with nested autocast, it would outlive a point
            with torch.autocast(device.type, dtype=torch.bfloat16):
                yield
        case _:
            assert_never(precision)


@contextmanager
def uninitialized_memory() -> Iterator[None]:
    """Save the pass by which deterministic algorithms fill new memory with nan. The body must read only written memory."""
    settings: Any = torch.utils.deterministic
    fills = settings.fill_uninitialized_memory
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        settings.fill_uninitialized_memory = fills
