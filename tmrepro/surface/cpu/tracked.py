"""Tracking: a linear layer, a ReLU, a linear layer, then any tail, at a small part of the plain evaluator's cost.

Along a row of the grid, each unit of the first layer is linear in b, so its ReLU changes state at most once. While no unit
changes, the second layer's outputs are quadratic in b. Their three coefficients are kept, evaluated at every point, and
updated by a unit's share where it changes state. The first column is computed in the same way, with six coefficients in
(a, b). Every 16 x 16 points start anew, so rounding errors do not grow, and a block does not depend on other blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from tmrepro.surface.cpu.geometry import Geometry, geometry_of
from tmrepro.surface.cpu.tail import SIDE, Row
from tmrepro.surface.cpu.tiles import TiledEvaluator, why_not_in_tiles
from tmrepro.surface.graph import apply_layer, cut_behind_second, layer_of
from tmrepro.surface.problem import Problem
from tmrepro.surface.trace import Uncut


class TrackedEvaluator(TiledEvaluator):
    """See the module. Float32 on the CPU; cross entropy, of hard or soft labels."""

    name = "tracked"
    pointwise = False

    @staticmethod
    def why_unsupported(problem: Problem) -> str | None:
        """Return why it cannot evaluate `problem`; None if it can."""
        why = why_not_in_tiles(problem)
        if why is None:
            try:
                geometry_of(cut_behind_second(problem.traced()), problem.inputs[:1])
            except Uncut as reason:
                return str(reason)
        return why

    @staticmethod
    def blocks(problem: Problem) -> dict[str, int]:
        """See `EvaluatorKind.blocks`."""
        cut = cut_behind_second(problem.traced())
        return {"images": geometry_of(cut, problem.inputs[:1]).tile, "points": SIDE * SIDE}

    def __init__(self, problem: Problem) -> None:
        cut = cut_behind_second(problem.traced())
        self._geometry = geometry_of(cut, problem.inputs[:1])
        super().__init__(problem, cut, geometry=self._geometry)
        self._second = _Second(self._geometry, [layer_of(parts, cut.second_name) for parts in self._parts])

    def _rows(
        self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]
    ) -> Callable[[int, int, Callable[[int], Row], Callable[[int, Tensor], None]], None]:
        geometry, kernels, second = self._geometry, self._kernels, self._second
        weights = [second.weights_at(alpha) for alpha in a.tolist()]
        betas = torch.from_numpy(b).float().numpy()

        def rows(begin: int, end: int, points: Callable[[int], Row], take: Callable[[int, Tensor], None]) -> None:
            first = self._first_outputs(begin, end)
            on = first[0] + float(a[0]) * first[1] + float(b[0]) * first[2] > 0
            six = second.coefficients(*(values * on for values in first))
            z = [values.reshape(end - begin, -1).numpy() for values in first]
            states = on.reshape(end - begin, -1).numpy().view(np.uint8)
            out = np.empty((len(betas), end - begin, geometry.outputs), dtype=np.float32)
            outputs = torch.from_numpy(out)
            for i, alpha in enumerate(a.tolist()):
                kernels.track_row(alpha, betas, *z, states, six, weights[i], *geometry.tables, self._cut.relu, out)
                take(i, self._tail(outputs, points(i)))

        return rows


class _Second:
    """The second layer's weights and biases under theta*, delta^ and eta^."""

    def __init__(self, geometry: Geometry, layer: Sequence[tuple[Tensor, Tensor | None]]) -> None:
        self._geometry = geometry
        self._stacked = torch.cat([weight for weight, _ in layer])
        self._biases = [bias.double() for _, bias in layer if bias is not None]
        self._by_tap = tuple(_by_tap(weight).numpy() for weight, _ in layer)

    def weights_at(self, alpha: float) -> tuple[Float32[np.ndarray, "rows M"], ...]:
        """Return w, d, e and w + alpha d, with a row for each input and tap of the kernel."""
        w, d, e = self._by_tap
        return w, d, e, (torch.from_numpy(d) * alpha + torch.from_numpy(w)).numpy()  # infinite without a warning

    def coefficients(self, *units: Float32[Tensor, "T ..."]) -> Float64[np.ndarray, "T 6 Q"]:
        """Return the six coefficients of each output from the units that are on (0 for units that are off)."""
        geometry, M = self._geometry, self._geometry.width
        g = []
        for values in units:
            taken = values.flatten(1) if geometry.size is None else values
            found = apply_layer(geometry.second, taken, self._stacked, None)
            placed = found[:, None] if geometry.size is None else found.permute(0, 2, 3, 1).flatten(1, 2)
            g.append(placed.view(*placed.shape[:2], 3, M).double())
        z0, z1, z2 = g
        six = torch.stack(
            [
                z0[:, :, 0],
                z1[:, :, 0] + z0[:, :, 1],
                z2[:, :, 0] + z0[:, :, 2],
                z1[:, :, 1],
                z2[:, :, 1] + z1[:, :, 2],
                z2[:, :, 2],
            ],
            dim=1,
        )
        for k, bias in enumerate(self._biases):
            six[:, k] += bias
        return six.flatten(2).numpy()


def _by_tap(weight: Float32[Tensor, "M ..."]) -> Float32[Tensor, "rows M"]:
    """Return a layer's weights with a row for each input and tap of the kernel."""
    return weight.flatten(1).t().contiguous()
