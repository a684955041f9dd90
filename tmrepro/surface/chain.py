"""A tail of layers one after the other, without torch's modules: matrix products for all points of a row.

Values are [J, T, P, C]: J points, T images, P places of a map (row by row; one for a vector), C channels, which lie together. A
convolution gathers what its kernel reads into rows and is then a matrix product, of the taps alone that ever fall inside the
map. Large products go to oneDNN, which is several times as fast there as MKL where that must give every processor's bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Tensor, fx, nn

from tmrepro.surface.graph import has_hooks, is_flatten, is_identity, is_relu, module_of
from tmrepro.surface.layers import is_supported, multiply, shape_of

LARGE_PRODUCT = 2**22  # multiplications: below, a call of oneDNN costs too much, or a batch of products is faster

Size = tuple[int, int]
Row = Mapping[str, Tensor]
Step = Callable[[Float[Tensor, "J T P C"], Row], Float[Tensor, "J T Q D"]]


@dataclass(frozen=True)
class Patches:
    """What a convolution reads: source[q, k] is the place behind tap used[k] of its output place q, -1 in the padding."""

    source: Int32[np.ndarray, "Q taps"]
    used: list[int]


class Chain:
    """`steps` in their order. `arranged` puts parameters where their products want them."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._patches = {step.name: step.patches for step in steps if isinstance(step, _Product)}

    def arranged(self, name: str, values: Float[Tensor, "M ..."]) -> Float[Tensor, "M ..."]:
        """A parameter, by the tail's name of it."""
        layer, _, kind = name.rpartition(".")
        patches = self._patches[layer]
        if kind == "bias" or patches is None:
            return values
        return values.flatten(2)[:, :, patches.used].transpose(1, 2).flatten(1).contiguous()

    def __call__(self, x: Float[Tensor, "J T P C"], row: Row) -> Float[Tensor, "J T classes"]:
        """Logits; `x` may be overwritten."""
        for step in self._steps:
            x = step(x, row)
        return x[:, :, 0]


def chain_of(tail: fx.GraphModule, *, size: Size | None) -> Chain | None:
    """`tail` as a chain, on maps of `size` or vectors; None if it is more than that."""
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
            steps.append(_flatten)
            size = None
        else:
            found = _step(module_of(tail, node), str(node.target), size) if node.op == "call_module" else None
            if found is None:
                return None
            step, size = found
            steps.append(step)
    if size is not None:
        return None
    if steps and isinstance(steps[-1], _Product):
        steps[-1] = replace(steps[-1], is_last=True)
    return Chain(steps)


def _step(module: nn.Module, name: str, size: Size | None) -> tuple[Step, Size | None] | None:
    """What `module` does with maps of `size` or vectors, and the size behind it; None if that is no step."""
    if has_hooks(module):
        return None
    if type(module) is nn.AdaptiveAvgPool2d and module.output_size in {1, (1, 1)} and size is not None:
        return _mean, (1, 1)
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
    source = np.full((shape.after[0] * shape.after[1], len(used)), -1, dtype=np.int32)
    for behind, before, tap in shape.connections:
        source[behind, used.index(tap)] = before
    return _Product(name, Patches(source, used)), shape.after


@dataclass(frozen=True)
class _Product:
    """A matrix, or a convolution as one. The last one of all has few outputs, which lie class by class in memory."""

    name: str
    patches: Patches | None
    is_last: bool = False

    def __call__(self, x: Float[Tensor, "J T P C"], row: Row) -> Float[Tensor, "J T Q M"]:
        weight, bias = row[f"{self.name}.weight"], row.get(f"{self.name}.bias")
        (J, T), (M, K) = x.shape[:2], weight.shape[1:]
        places = 1 if self.patches is None else len(self.patches.source)
        if T * places * M * K >= LARGE_PRODUCT and _may_use_onednn(x):
            biases = [None] * J if bias is None else bias
            found = torch.stack([multiply(self._rows(x[j]), weight[j], biases[j]) for j in range(J)])
        else:
            rows = self._rows(x.flatten(0, 1)).view(J, T * places, K)
            if self.is_last and x.device.type == "cpu":  # where such a product is four times as fast
                rows = rows.transpose(1, 2)
                found = torch.bmm(weight, rows) if bias is None else torch.baddbmm(bias[:, :, None], weight, rows)
                return found.transpose(1, 2).view(J, T, places, M)
            weights = weight.transpose(1, 2)
            found = torch.bmm(rows, weights) if bias is None else torch.baddbmm(bias[:, None], rows, weights)
        return found.view(J, T, places, M)

    def _rows(self, x: Float[Tensor, "T P C"]) -> Float[Tensor, "rows inputs"]:
        if self.patches is None:
            return x.squeeze(1)
        from tmrepro.surface import kernels  # numba loads where it is used

        source = self.patches.source
        rows = torch.empty(len(x) * len(source), source.shape[1] * x.shape[2])
        kernels.gather(x.numpy(), source, rows.view(len(x), *source.shape, x.shape[2]).numpy())
        return rows


def _may_use_onednn(x: Tensor) -> bool:
    return (
        x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu") and is_supported()
    )


def _relu(x: Tensor, _row: Row) -> Tensor:
    return x.relu_()


def _flatten(x: Float[Tensor, "J T P C"], _row: Row) -> Float[Tensor, "J T 1 N"]:
    return x.transpose(2, 3).flatten(2).unsqueeze(2)


def _mean(x: Float[Tensor, "J T P C"], _row: Row) -> Float[Tensor, "J T 1 C"]:
    return x.mean(2, keepdim=True)
