"""A network's graph for the kernels of `gpu_kernels`. Values are [channels, places, images], not [images, channels, h, w]."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float, Float32, Int32
from torch import Tensor, fx, nn

from tmrepro.surface.cpu.folding import FoldedNetwork, fold_network
from tmrepro.surface.cpu.layers import Shape
from tmrepro.surface.gpu import gpu_kernels
from tmrepro.surface.graph import is_flatten, is_identity, is_relu, is_sum, module_of
from tmrepro.surface.trace import Trace, Uncut, has_hooks


class FusedLayer(nn.Module):
    """A convolution or matrix with its weights at one point of a surface, and the next operations: an addend, a ReLU.

    `weights` [taps x inputs, outputs] and `bias` [outputs] are for the weights of a point. With `tf32` the weights must have
    TF32's 10 bits (`round_tf32`).

    If the addend is the output of another such layer, and nothing else uses it, this layer can take that one over (`taken`). It
    then has a second input, no addend is written or read, and its bias must be the sum of both. `matrix` contains the weights of
    both, one below the other, with zeros up to whole tiles.
    """

    def __init__(self, shape: Shape, module: nn.Conv2d | nn.Linear, *, tf32: bool) -> None:
        super().__init__()
        weight = module.weight
        self.relu, self._tf32 = False, tf32
        self._used = sorted({tap for _, _, tap in shape.connections})
        self._outputs, inputs = weight.shape[:2]
        self.numbered = [(after, before, self._used.index(tap)) for after, before, tap in shape.connections]
        self._places, self.rows = shape.after[0] * shape.after[1], len(self._used) * inputs
        # If each place needs only itself, places are treated as more images.
        itself = [(place, place, 0) for place in range(self._places)]
        self._is_product = shape.before == shape.after and self.numbered == itself
        self.taken: FusedLayer | None = None
        self.bias: Float32[Tensor, " O"] = torch.zeros(self._outputs, device=weight.device)
        self._lay_out()

    def _lay_out(self) -> None:
        """Make the tables and a matrix."""
        numbered, places = ([(0, 0, 0)], 1) if self._is_product else (self.numbered, self._places)
        rows = self.rows
        if self.taken is not None:
            rows += self.taken.rows
            others = [(0, 0, 0)] if self._is_product else self.taken.numbered
            numbered = [*numbered, *((after, before, len(self._used)) for after, before, _ in others)]
        self._taps, self._counts = _tables(numbered, places, self.bias.device)
        self.hold(torch.zeros(rows, gpu_kernels.columns_of(self._outputs), device=self.bias.device))

    def hold(self, matrix: Float32[Tensor, "rows columns"]) -> None:
        """Use this memory for the weights."""
        self.matrix = matrix
        self.weights: Float32[Tensor, "rows O"] = matrix[: self.rows, : self._outputs]
        if self.taken is not None:
            self.taken.hold(matrix[self.rows :])

    def take(self, other: FusedLayer) -> bool:
        """Take `other` over, if it has one tap that every place uses. Return whether it does."""
        if len(other._used) != 1 or len(other.numbered) != self._places:
            return False
        self.taken = other
        self._is_product = self._is_product and other._is_product
        self._lay_out()
        return True

    def own(self, values: Float[Tensor, "O C ..."]) -> Float[Tensor, "rows O"]:
        """Return a tensor of the shape of the layer's weight in the order of `weights`."""
        by_tap = values.reshape(*values.shape[:2], -1)[:, :, self._used]
        return by_tap.permute(2, 1, 0).reshape(-1, self._outputs).contiguous()

    def forward(self, x: Float32[Tensor, "C P N"], more: Tensor | None = None) -> Float32[Tensor, "O Q N"]:
        """Return outputs of the layer. `more` is the addend or the second input."""
        _, places, images = x.shape
        if self._is_product:
            x, more = x.flatten(1).unsqueeze(1), None if more is None else more.flatten(1).unsqueeze(1)
        done = gpu_kernels.apply_layer(
            x,
            self.matrix,
            self.bias,
            addend=more if self.taken is None else None,
            second=None if self.taken is None else more,
            taps=self._taps,
            counts=self._counts,
            relu=self.relu,
            tf32=self._tf32,
        )
        return done.view(self._outputs, places, images) if self._is_product else done


def fuse_network(trace: Trace | Uncut, inputs: Tensor, *, tf32: bool) -> FoldedNetwork[FusedLayer] | str:
    """Return a traced network for values [channels, places, images], or why it cannot be used. `inputs` give the map sizes."""
    if not inputs.is_floating_point() or inputs.ndim not in {2, 4}:
        return "its inputs are neither images nor vectors"
    folded = fold_network(trace, inputs, partial(_make_layer, tf32=tf32))
    if isinstance(folded, str):
        return folded
    traced = folded.network
    for node in list(traced.graph.nodes):
        _join(traced, node)
    for node in list(traced.graph.nodes):
        if (why := _convert(traced, node, folded.sizes, inputs.device)) is not None:
            return why
    traced.graph.lint()
    traced.recompile()
    return folded if not folded.others else f"its parameter {next(iter(folded.others))} is in no layer"


def places_first(images: Float[Tensor, "n ..."]) -> Float32[Tensor, "C P N"]:
    """Return images [n, C, h, w], or vectors [n, C], as [C, places, N], with zeros up to a multiple of IMAGES."""
    n, channels = images.shape[:2]
    N = -(-n // gpu_kernels.IMAGES) * gpu_kernels.IMAGES
    values = images.reshape(n, channels, -1).permute(1, 2, 0)
    ordered = torch.zeros(*values.shape[:2], N, device=images.device)
    ordered[:, :, :n] = values
    return ordered


def round_tf32(values: Float32[Tensor, ...]) -> None:
    """Round in place to the nearest number of TF32's 10 bits, as the kernels do."""
    bits = values.view(torch.int32)
    rounded = (bits + 0x1000) & ~0x1FFF
    bits.copy_(torch.where(values.isfinite(), rounded, bits))


class _Largest(nn.Module):
    """Max pooling."""

    def __init__(self, shape: Shape, device: torch.device) -> None:
        super().__init__()
        self._taps, self._counts = _tables(shape.connections, shape.after[0] * shape.after[1], device)

    def forward(self, x: Float32[Tensor, "C P N"]) -> Float32[Tensor, "C Q N"]:
        return gpu_kernels.take_largest(x, self._taps, self._counts)


class _Mean(nn.Module):
    """The average of each channel."""

    def forward(self, x: Float32[Tensor, "C P N"]) -> Float32[Tensor, "C 1 N"]:
        return x if x.shape[1] == 1 else x.mean(1, keepdim=True)


class _Flatten(nn.Module):
    """One vector of each image."""

    def forward(self, x: Float32[Tensor, "C P N"]) -> Float32[Tensor, "M 1 N"]:
        return x.reshape(-1, 1, x.shape[2])


def _make_layer(shape: Shape, module: nn.Conv2d | nn.Linear, *, tf32: bool) -> FusedLayer | None:
    return FusedLayer(shape, module, tf32=tf32) if shape.groups == 1 else None


def _join(traced: fx.GraphModule, node: fx.Node) -> None:
    """Merge a layer with the one before it, if that one is used only as its addend."""
    layer, addend = _layer_of(traced, node), node.args[1] if len(node.args) == 2 else None
    if layer is None or not isinstance(addend, fx.Node) or addend.next is not node or len(addend.users) > 1:
        return
    other = _layer_of(traced, addend)
    if other is None or other.relu or len(addend.args) != 1 or addend is node.args[0]:
        return
    if layer.take(other):
        node.args = (node.args[0], addend.args[0])
    elif other.take(layer):
        other.relu = layer.relu
        node.target, node.args = addend.target, (addend.args[0], node.args[0])
    else:
        return
    traced.graph.erase_node(addend)


def _layer_of(traced: fx.GraphModule, node: fx.Node) -> FusedLayer | None:
    module = module_of(traced, node) if node.op == "call_module" else None
    return module if isinstance(module, FusedLayer) else None


def _convert(
    traced: fx.GraphModule, node: fx.Node, sizes: dict[fx.Node, tuple[int, ...]], device: torch.device
) -> str | None:
    """Replace `node` by the same operation for the new order of values. Return why if that is not possible."""
    if node.op in {"placeholder", "output"} or is_relu(traced, node) or is_identity(traced, node):
        return None
    if is_sum(node):
        terms = [sizes.get(value) if isinstance(value, fx.Node) else None for value in node.args]
        return None if terms == [sizes[node]] * 2 else "it adds what has other sizes"
    if is_flatten(traced, node):
        new: nn.Module = _Flatten()
    elif node.op == "call_module":
        module = module_of(traced, node)
        if isinstance(module, FusedLayer):
            return None
        before = sizes[node.all_input_nodes[0]]
        found = None if has_hooks(module) else _pooling(module, before, sizes[node], device)
        if found is None:
            return f"there is no kernel for its {type(module).__name__}"
        new = found
    else:
        return f"there is no kernel for its {getattr(node.target, '__name__', node.target)}"
    name = f"fused_{node.name}"
    traced.add_submodule(name, new)
    with traced.graph.inserting_before(node):
        other = traced.graph.call_module(name, (node.all_input_nodes[0],))
    sizes[other] = sizes[node]
    node.replace_all_uses_with(other)
    traced.graph.erase_node(node)
    return None


def _pooling(module: nn.Module, before: Sequence[int], after: Sequence[int], device: torch.device) -> nn.Module | None:
    if type(module) is nn.AdaptiveAvgPool2d and tuple(after[2:]) == (1, 1) and len(before) == 4:
        return _Mean()
    if type(module) is not nn.MaxPool2d or module.return_indices or module.ceil_mode or len(before) != 4:
        return None
    kernel, stride, padding, dilation = (
        (value, value) if isinstance(value, int) else (value[0], value[1])
        for value in (module.kernel_size, module.stride, module.padding, module.dilation)
    )
    shape = Shape(kernel, stride, padding, dilation, 1, (before[2], before[3]), (after[2], after[3]))
    return _Largest(shape, device)


def _tables(
    connections: Sequence[tuple[int, int, int]], places: int, device: torch.device
) -> tuple[Int32[Tensor, "Q T 2"], Int32[Tensor, " Q"]]:
    """Return (place after, place before, tap) in the form for `gpu_kernels`."""
    by_place: list[list[tuple[int, int]]] = [[] for _ in range(places)]
    for after, before, tap in connections:
        by_place[after].append((before, tap))
    counts = torch.tensor([len(some) for some in by_place], dtype=torch.int32)
    taps = torch.zeros(places, max(int(counts.max()), 1), 2, dtype=torch.int32)
    for place, some in enumerate(by_place):
        if some:
            taps[place, : len(some)] = torch.tensor(some, dtype=torch.int32)
    return taps.to(device), counts.to(device)
