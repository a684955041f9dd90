"""What follows the tracked layers: run at every point with that point's own parameters, a row of points at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, fx
from torch.func import functional_call

from tmrepro.surface.graph import is_chain_of_matrices, matrices_of

SIDE = 16  # points along each axis that are computed together
POINTS_BYTES = 64 * 2**20  # of a block's parameters, formed once for all tiles; larger ones are formed row by row

Parts = Mapping[str, Tensor]
Row = dict[str, Tensor]


class Tail:
    """The layers of a cut's tail.

    `parameters` are theta*, delta^ and eta^ by the network's names; `names` says which of them each of the tail's own is.
    """

    def __init__(
        self, module: fx.GraphModule, *, names: Mapping[str, str], parameters: tuple[Parts, Parts, Parts]
    ) -> None:
        self._module = module
        theta, delta, eta = parameters
        self._parts = [(theta[name].double(), delta[name].double(), eta[name].double()) for name in names.values()]
        self._names = list(names)
        self._free: SimpleQueue[fx.GraphModule] = SimpleQueue()
        self._steps = matrices_of(module) if is_chain_of_matrices(module) else None

    def points(self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]) -> Callable[[int], Row]:
        """Row i -> the parameters of its points by name, each [J, ...]: formed in float64 and rounded once, as plainly."""
        size = sum(theta.numel() for theta, _, _ in self._parts)

        def row(i: int) -> Row:
            return {name: _moved(parts, float(a[i]), b) for name, parts in zip(self._names, self._parts, strict=True)}

        if 4 * size * len(a) * len(b) > POINTS_BYTES:
            return row
        return [row(i) for i in range(len(a))].__getitem__

    def __call__(self, x: Float[Tensor, "J T ..."], row: Row) -> Float[Tensor, "J T C"]:
        """Logits at each point of a row; `x` may be overwritten."""
        if self._steps is None:
            with self._own_module() as module:
                return torch.stack(
                    [
                        functional_call(module, {name: values[j] for name, values in row.items()}, (x[j],))
                        for j in range(len(x))
                    ]
                )
        for step in self._steps:
            if step is None:
                x = x.relu_()
                continue
            weight, bias = row[f"{step}.weight"].transpose(1, 2), row.get(f"{step}.bias")
            x = torch.bmm(x, weight) if bias is None else torch.baddbmm(bias[:, None], x, weight)
        return x

    @contextmanager
    def _own_module(self) -> Iterator[fx.GraphModule]:
        """A module that no other thread uses meanwhile: parameters are exchanged in place."""
        try:
            module = self._free.get_nowait()
        except Empty:
            module = copy.deepcopy(self._module)
        try:
            yield module
        finally:
            self._free.put(module)


def _moved(parts: tuple[Tensor, Tensor, Tensor], a: float, b: Sequence[float] | np.ndarray) -> Tensor:
    theta, delta, eta = parts
    row = delta * a + theta
    return torch.stack([(eta * float(b_j) + row).float() for b_j in b])
