"""The layers after those that are linear in the coordinates. They run for a row of points at a time."""

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

from tmrepro.surface.cpu.chain import Operands, Size, chain_of
from tmrepro.surface.problem import Parts

SIDE = 16  # points along each axis that are computed together
POINTS_BYTES = 64 * 2**20  # of a block's parameters, formed once for all tiles; larger ones are formed row by row

Row = dict[str, Tensor] | list[Operands]  # parameters by name, or operands of a chain


class Tail:
    """The layers of a cut's tail.

    `parameters` are theta*, delta^ and eta^ by the network's names. `names` maps the tail's names to these. `size` is that of its
    input maps (height, width); None for vectors.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        *,
        names: Mapping[str, str],
        parameters: tuple[Parts, Parts, Parts],
        size: Size | None,
    ) -> None:
        self._module, self._size = module, size
        self._places = 1 if size is None else size[0] * size[1]
        self._chain = chain_of(module, size=size)
        self._parts = [
            tuple(self._arranged(own, part[name].double()) for part in parameters) for own, name in names.items()
        ]
        self._names = list(names)
        self._free: SimpleQueue[fx.GraphModule] = SimpleQueue()

    def points(self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]) -> Callable[[int], Row]:
        """Return a function of i: the parameters [J, ...] of row i's points, formed in float64 and rounded once."""
        size = sum(theta.numel() for theta, *_ in self._parts)

        def row(i: int) -> Row:
            found = {name: _moved(parts, float(a[i]), b) for name, parts in zip(self._names, self._parts, strict=True)}
            return found if self._chain is None else self._chain.prepared(found)

        if 4 * size * len(a) * len(b) > POINTS_BYTES:
            return row
        return [row(i) for i in range(len(a))].__getitem__

    def __call__(self, x: Float[Tensor, "J T Q"], row: Row) -> Float[Tensor, "J C T"]:
        """Return logits at each point of a row, class by class. Maps are place by place, with contiguous channels.

        `x` may be overwritten.
        """
        if isinstance(row, list):
            assert self._chain is not None  # noqa: S101 - `points` returns lists only for chains
            return self._chain(x if self._places == 1 else x.view(len(x), -1, x.shape[2] // self._places), row)
        if self._size is not None:
            x = x.view(*x.shape[:2], *self._size, -1).permute(0, 1, 4, 2, 3)
        with self._own_module() as module:
            logits = [
                functional_call(module, {name: values[j] for name, values in row.items()}, (x[j],))
                for j in range(len(x))
            ]
        return torch.stack(logits).transpose(1, 2)

    def _arranged(self, name: str, values: Tensor) -> Tensor:
        return values if self._chain is None else self._chain.arranged(name, values)

    @contextmanager
    def _own_module(self) -> Iterator[fx.GraphModule]:
        """Yield a module that no other thread uses meanwhile, because its parameters are replaced in place."""
        try:
            module = self._free.get_nowait()
        except Empty:
            module = copy.deepcopy(self._module)
        try:
            yield module
        finally:
            self._free.put(module)


def _moved(parts: tuple[Tensor, ...], a: float, b: Sequence[float] | np.ndarray) -> Tensor:
    theta, delta, eta = parts
    row = delta * a + theta
    columns = torch.from_numpy(np.asarray(b)).to(row.device).view(-1, *[1] * row.ndim)
    together = max(POINTS_BYTES // (8 * row.numel()), 1)  # as many columns as keep the float64 tensor small
    return torch.cat([(eta * some).add_(row).float() for some in torch.split(columns, together)])
