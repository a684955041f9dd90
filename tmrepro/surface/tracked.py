"""Tracking: a linear layer, a ReLU, a linear layer, then any tail, at a small part of the plain evaluator's cost.

Along a row of the grid each unit behind the first layer is linear in b, so its ReLU changes state once at most. While no
unit does, the second layer's outputs are quadratic in b: their three coefficients are kept, evaluated at every point,
and changed by one unit's share where that unit changes state. So too, with six coefficients in (a, b), down the first
column. Every 16 x 16 points begin afresh, so rounding cannot drift and a block's bytes are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from tmrepro.surface.geometry import Geometry, geometry_of
from tmrepro.surface.graph import TRIED, Uncut, apply_layer, cut_behind_second, layer_of
from tmrepro.surface.problem import Problem
from tmrepro.surface.tail import SIDE, Row
from tmrepro.surface.tiles import TiledEvaluator, unfit_for_tiles


class TrackedEvaluator(TiledEvaluator):
    """See the module. Float32 on the CPU; cross entropy, of hard or soft labels."""

    name = "tracked"
    pointwise = False

    @staticmethod
    def unfit(problem: Problem) -> str | None:
        """Why it cannot evaluate `problem`; None if it can."""
        why = unfit_for_tiles(problem)
        if why is None:
            try:
                geometry_of(cut_behind_second(problem.model, problem.inputs[:TRIED]), problem.inputs[:1])
            except Uncut as reason:
                return str(reason)
        return why

    @staticmethod
    def blocks(problem: Problem) -> dict[str, int]:
        """See `EvaluatorKind.blocks`."""
        cut = cut_behind_second(problem.model, problem.inputs[:TRIED])
        return {"images": geometry_of(cut, problem.inputs[:1]).tile, "points": SIDE * SIDE}

    def __init__(self, problem: Problem) -> None:
        cut = cut_behind_second(problem.model, problem.inputs[:TRIED])
        self._geometry = geometry_of(cut, problem.inputs[:1])
        super().__init__(problem, cut, geometry=self._geometry)

    def _rows(
        self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]
    ) -> Callable[[int, int, Callable[[int], Row], Callable[[int, Tensor], None]], None]:
        geometry, kernels = self._geometry, self._kernels
        corner = _Corner(geometry, [layer_of(parts, self._cut.second_name) for parts in self._parts], a, b)

        def rows(begin: int, end: int, points: Callable[[int], Row], take: Callable[[int, Tensor], None]) -> None:
            one, two, three = self._first_outputs(begin, end)
            z0 = one + corner.a0 * two + corner.b0 * three
            on = z0 > 0
            six = corner.coefficients(z0 * on, two * on, three * on)
            z = [values.reshape(end - begin, -1).numpy() for values in (z0, two, three)]
            states = on.reshape(end - begin, -1).numpy().view(np.uint8)
            out = np.empty((len(corner.betas), end - begin, geometry.outputs), dtype=np.float32)
            outputs = torch.from_numpy(out)
            for i, alpha in enumerate(corner.alphas):
                weights = (*corner.weights, corner.rows[i])
                kernels.track_row(alpha, corner.betas, *z, states, six, weights, *geometry.tables, self._cut.relu, out)
                take(i, self._tail(outputs, points(i)))

        return rows


class _Corner:
    """The second layer's weights as seen from the block's first point, (a0, b0)."""

    def __init__(
        self,
        geometry: Geometry,
        layer: Sequence[tuple[Tensor, Tensor | None]],
        a: Float64[np.ndarray, " I"],
        b: Float64[np.ndarray, " J"],
    ) -> None:
        self._geometry = geometry
        self.a0, self.b0 = float(a[0]), float(b[0])
        self.alphas: list[float] = (a - a[0]).tolist()
        self.betas = torch.from_numpy(b - b[0]).float().numpy()
        (weight, bias), *moving = layer
        here = weight.double() + self.a0 * moving[0][0].double() + self.b0 * moving[1][0].double()
        self._stacked = torch.cat([here.float(), moving[0][0], moving[1][0]])
        self._biases: list[Tensor] = []
        if bias is not None and moving[0][1] is not None and moving[1][1] is not None:
            d, e = moving[0][1].double(), moving[1][1].double()
            self._biases = [bias.double() + self.a0 * d + self.b0 * e, d, e]
        M = geometry.width
        w, d, e = (_by_tap(self._stacked[k * M : (k + 1) * M]) for k in range(3))
        self.weights = w.numpy(), d.numpy(), e.numpy()
        self.rows = [(d * alpha + w).numpy() for alpha in self.alphas]  # as far as infinity without a warning

    def coefficients(self, *units: Float32[Tensor, "T ..."]) -> Float64[np.ndarray, "T 6 Q"]:
        """The six coefficients of each output, of units that are on at the corner (0 where they are off)."""
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
    """A layer's weights, a row for each input and tap of the kernel."""
    return weight.flatten(1).t().contiguous()
