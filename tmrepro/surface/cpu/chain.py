"""A tail that is a sequence of layers, without torch's modules: matrix products for all points of a row.

Values are [J, T P, C]: J points, T images with P places of a map each (row by row; one for a vector), C channels, which are
contiguous. A convolution gathers the inputs of its kernel into rows, and is then a matrix product. Only taps that are inside
the map for some place are included. Large products use oneDNN, which is several times as fast there as MKL, if MKL must give
the same bits on every processor. Parallel threads wait for each other at each call of torch, so there are few calls: the
operands of a row's parameters are prepared once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Tensor, fx, nn

from tmrepro.surface.cpu.layers import is_supported, multiply, shape_of
from tmrepro.surface.graph import is_flatten, is_identity, is_relu, module_of
from tmrepro.surface.trace import has_hooks

LARGE_PRODUCT = 2**22  # multiplications: below, a call of oneDNN costs too much, or a batch of products is faster

Size = tuple[int, int]
Row = Mapping[str, Tensor]
Operands = tuple[Tensor, ...]
Step = Callable[[Float[Tensor, "J rows C"], Operands], Float[Tensor, "J more D"]]


@dataclass(frozen=True)
class Patches:
    """The inputs of a convolution: source[q, k] is the input place at tap used[k] of output place q, or -1 in the padding."""

    source: Int32[np.ndarray, "Q taps"]
    used: list[int]


class Chain:
    """`steps` in their order. `arranged` reorders parameters for their products."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._patches = {step.name: step.patches for step in steps if isinstance(step, _Product)}

    def arranged(self, name: str, values: Float[Tensor, "M ..."]) -> Float[Tensor, "M ..."]:
        """Return a parameter, named as in the tail, in the order for its product."""
        layer, _, kind = name.rpartition(".")
        patches = self._patches[layer]
        if kind == "bias" or patches is None:
            return values
        return values.flatten(2)[:, :, patches.used].transpose(1, 2).flatten(1).contiguous()

    def prepared(self, row: Row) -> list[Operands]:
        """Return the operands of each step for the parameters of a row's points."""
        return [step.operands(row) if isinstance(step, _Product) else () for step in self._steps]

    def __call__(self, x: Float[Tensor, "J rows C"], prepared: Sequence[Operands]) -> Float[Tensor, "J classes T"]:
        """Return logits, class by class. `x` may be overwritten."""
        for step, operands in zip(self._steps, prepared, strict=True):
            x = step(x, operands)
        return x if isinstance(self._steps[-1], _Product) else x.transpose(1, 2)


def chain_of(tail: fx.GraphModule, *, size: Size | None) -> Chain | None:
    """Return `tail` as a chain, on maps of `size` or vectors; None if it is not a chain."""
    nodes = [node for node in tail.graph.nodes if node.op not in {"placeholder", "output"}]
    if [node.all_input_nodes for node in nodes] != [[node] for node in list(tail.graph.nodes)[: len(nodes)]]:
        return None
    if len(list(tail.parameters())) < len(list(tail.named_parameters(remove_duplicate=False))):
        return None
    steps: list[Step] = []
    for node in nodes:
        if is_identity(tail, node):
            continue
        if is_relu(tail, node):
            steps.append(_relu)
        elif is_flatten(tail, node):
            steps.append(partial(_flatten, places=_places(size)))
            size = None
        else:
            found = _step(module_of(tail, node), str(node.target), size) if node.op == "call_module" else None
            if found is None:
                return None
            step, size = found
            steps.append(step)
    if size is not None or not steps:
        return None
    if isinstance(steps[-1], _Product):
        steps[-1] = replace(steps[-1], is_last=True)
    return Chain(steps)


def _step(module: nn.Module, name: str, size: Size | None) -> tuple[Step, Size | None] | None:
    """Return the step of `module` on maps of `size` or vectors, and the size after it; None if it is not a step."""
    if has_hooks(module):
        return None
    if type(module) is nn.AdaptiveAvgPool2d and module.output_size in {1, (1, 1)} and size is not None:
        return partial(_mean, places=_places(size)), (1, 1)
    if not isinstance(module, nn.Conv2d | nn.Linear) or type(module) not in {nn.Conv2d, nn.Linear}:
        return None
    if set(dict(module.named_parameters())) - {"weight", "bias"}:
        return None
    if isinstance(module, nn.Linear):
        return (_Product(name, None), None) if size is None else None
    if size is None or module.groups != 1 or module.padding_mode != "zeros" or isinstance(module.padding, str):
        return None
    after = module(torch.empty(1, module.in_channels, *size)).shape
    shape = shape_of(module, before=(1, 1, *size), after=after)
    if shape is None:
        return None
    used = sorted({tap for _, _, tap in shape.connections})
    source = np.full((_places(shape.after), len(used)), -1, dtype=np.int32)
    for behind, before, tap in shape.connections:
        source[behind, used.index(tap)] = before
    return _Product(name, Patches(source, used), _places(size)), shape.after


@dataclass(frozen=True)
class _Product:
    """A matrix, or a convolution as one. The last product of a chain gives its outputs class by class, [J, M, T]."""

    name: str
    patches: Patches | None
    places: int = 1
    is_last: bool = False

    def operands(self, row: Row) -> Operands:
        """Return the weights, also transposed, and the bias, also in the shape for the outputs."""
        weight, bias = row[f"{self.name}.weight"], row.get(f"{self.name}.bias")
        turned = weight.transpose(1, 2)
        if bias is None:
            return weight, turned
        return weight, turned, bias, bias[:, :, None] if self._turns(weight) else bias[:, None]

    def __call__(self, x: Float[Tensor, "J rows C"], operands: Operands) -> Float[Tensor, "J more M"]:
        weight, turned, *biases = operands
        J, M, K = weight.shape
        images = x.shape[1] // self.places
        rows = images if self.patches is None else images * len(self.patches.source)
        if rows * M * K >= LARGE_PRODUCT and _may_use_onednn(x):
            bias = biases[0] if biases else [None] * J
            found = torch.stack([multiply(self._rows(x[j : j + 1])[0], weight[j], bias[j]) for j in range(J)])
            return found.transpose(1, 2) if self.is_last else found
        x = self._rows(x)
        if self._turns(weight):
            x = x.transpose(1, 2)
            return torch.baddbmm(biases[1], weight, x) if biases else torch.bmm(weight, x)
        found = torch.baddbmm(biases[1], x, turned) if biases else torch.bmm(x, turned)
        return found.transpose(1, 2) if self.is_last else found

    def _turns(self, weight: Tensor) -> bool:
        """Return whether the product is computed class by class. With few classes, on a CPU, this is four times as fast."""
        return self.is_last and weight.device.type == "cpu"

    def _rows(self, x: Float[Tensor, "J rows C"]) -> Float[Tensor, "J more K"]:
        """Return the inputs of the kernel at each of its places."""
        if self.patches is None:
            return x
        from tmrepro.surface.cpu import kernels  # numba loads only when it is used

        (J, before, C), source = x.shape, self.patches.source
        by_image = x.reshape(-1, self.places, C)
        rows = torch.empty(len(by_image), *source.shape, C)
        kernels.gather(by_image.numpy(), source, rows.numpy())
        return rows.view(J, before // self.places * len(source), source.shape[1] * C)


def _may_use_onednn(x: Tensor) -> bool:
    return (
        x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu") and is_supported()
    )


def _relu(x: Tensor, _: Operands) -> Tensor:
    return x.relu_()


def _flatten(x: Float[Tensor, "J rows C"], _: Operands, *, places: int) -> Float[Tensor, "J T N"]:
    return x.view(len(x), -1, places, x.shape[2]).transpose(2, 3).flatten(2) if places > 1 else x


def _mean(x: Float[Tensor, "J rows C"], _: Operands, *, places: int) -> Float[Tensor, "J T C"]:
    return x.view(len(x), -1, places, x.shape[2]).mean(2)


def _places(size: Size | None) -> int:
    return 1 if size is None else size[0] * size[1]
