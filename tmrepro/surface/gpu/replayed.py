"""The plain evaluator without kernel launches: a pass over all images is recorded as a CUDA graph, then replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tmrepro.numerics.inference import EVALUATION_BATCH
from tmrepro.surface.plain import PlainEvaluator, uninitialized_memory
from tmrepro.surface.problem import Problem
from tmrepro.surface.trace import has_hooks

WARM_UP = 3  # passes before recording, so that libraries have chosen their kernels and allocated their memory
# Numbers per batch: 1,024 images of CIFAR-10's size. Only large batches use all of a GPU.
BATCH_NUMBERS = 3 * 2**20


class ReplayedEvaluator(PlainEvaluator):
    """Any network on a CUDA device: the plain evaluator in larger batches. Parameters change in place between replays."""

    name = "replayed"

    @staticmethod
    def why_unsupported(problem: Problem) -> str | None:
        """See `EvaluatorKind.why_unsupported`."""
        if problem.inputs.device.type != "cuda":
            return "it replays CUDA graphs"
        if problem.targets.loss is not None:
            return "the loss is the caller's own, which may wait for the device"
        if any(has_hooks(module) for module in problem.model.modules()):
            return "the network has hooks, which a recording leaves out"
        return None

    @staticmethod
    def blocks(problem: Problem) -> dict[str, int]:
        """See `EvaluatorKind.blocks`."""
        return {"images": max(BATCH_NUMBERS // problem.inputs[0].numel(), EVALUATION_BATCH), "points": 1}

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._replay: Callable[[], tuple[Tensor, Tensor]] | None = None

    def _point(self) -> tuple[float, int]:
        if self._replay is None:
            with uninitialized_memory():
                self._replay = recorded(self._sums, self._inputs.device)
        loss_sum, right = self._replay()
        return float(loss_sum) / len(self._inputs), int(right)


def recorded(compute: Callable[[], tuple[Tensor, Tensor]], device: torch.device) -> Callable[[], tuple[Tensor, Tensor]]:
    """Record `compute` as a CUDA graph. Return a function that replays it, and returns its results, always in the same memory."""
    stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            compute()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        answer = compute()

    def replay() -> tuple[Tensor, Tensor]:
        graph.replay()
        return answer

    return replay
