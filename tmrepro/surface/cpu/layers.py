"""One layer of a folded network: a convolution or matrix, its batch norm, and the next operations, as one call of oneDNN.

A convolution has one of three forms, by its shape alone. `matrix` is for 1 x 1 kernels, whose products on channels-last images
are one matrix product. `dense` is for maps so small that most taps of a kernel are in the padding (a 3 x 3 kernel on a 1 x 1
map has one tap that is not); the convolution is written as a matrix. `convolution` is for all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, assert_never

import torch
from jaxtyping import Float32
from torch import Tensor, nn

Form = Literal["convolution", "matrix", "dense"]

# If at least half of a convolution's products are with padding, a matrix with zeros is faster.
DENSE_SHARE = 2

_ONEDNN: Any = torch.ops.mkldnn


@dataclass(frozen=True)
class Shape:
    """The facts about a convolution or matrix that decide its form. Maps are (height, width); a matrix has maps of 1 x 1."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    before: tuple[int, int]
    after: tuple[int, int]

    @property
    def form(self) -> Form:
        """The form of the convolution; see the module."""
        if self.groups > 1:
            return "convolution"
        if self.kernel == (1, 1) and self.padding == (0, 0):
            return "matrix"
        products = self.kernel[0] * self.kernel[1]
        return "dense" if DENSE_SHARE * self.before[0] * self.before[1] <= products else "convolution"

    @property
    def connections(self) -> list[tuple[int, int, int]]:
        """(place after, place before, tap) for each tap of the kernel inside the map. Places and taps are row by row."""
        found = []
        for row, column in _places(self.after):
            for tap_row, tap_column in _places(self.kernel):
                i = row * self.stride[0] - self.padding[0] + tap_row * self.dilation[0]
                j = column * self.stride[1] - self.padding[1] + tap_column * self.dilation[1]
                if 0 <= i < self.before[0] and 0 <= j < self.before[1]:
                    found.append(
                        (
                            row * self.after[1] + column,
                            i * self.before[1] + j,
                            tap_row * self.kernel[1] + tap_column,
                        )
                    )
        return found


class Layer(nn.Module):
    """A convolution or matrix with its weights at one point of a surface, and the next operations: an addend, a ReLU.

    `weights` [taps, out, in] (dense) or [out, taps, in] (all others) and `bias` [out] are for the folded weights of a point.
    `arrange` then reorders them for the product.
    """

    def __init__(self, shape: Shape, *, weight: Tensor, is_matrix: bool) -> None:
        super().__init__()
        self.shape, self.is_matrix = shape, is_matrix
        out, into = weight.shape[0], weight.shape[1]
        self.used = sorted({tap for _, _, tap in shape.connections}) if shape.form == "dense" else []
        self.relu = False
        taps = shape.kernel[0] * shape.kernel[1]
        self.weights: Float32[Tensor, ...] = torch.empty(
            (len(self.used), out, into) if self.taps_first else (out, taps, into)
        )
        self.bias: Float32[Tensor, " out"] = torch.empty(out)
        self._matrix = self.weights
        if shape.form == "dense":
            after, before = (size[0] * size[1] for size in (shape.after, shape.before))
            self._matrix = torch.zeros(after, out, before, into)
        self._long_bias = self.bias

    @property
    def taps_first(self) -> bool:
        """Whether `weights` begins with the taps of the kernel."""
        return self.shape.form == "dense"

    def own(self, values: Tensor) -> Tensor:
        """Return a tensor of the shape of the layer's weight in the order of `weights`."""
        out, into = values.shape[:2]
        by_tap = values.reshape(out, into, -1)
        if self.shape.form == "dense":
            return by_tap.permute(2, 0, 1)[self.used].contiguous()
        return by_tap.permute(0, 2, 1).contiguous()

    def arrange(self) -> None:
        """Reorder `weights` and `bias` for the product."""
        if self.shape.form != "dense":
            return
        position = {tap: index for index, tap in enumerate(self.used)}
        for after, before, tap in self.shape.connections:
            self._matrix[after, :, before].copy_(self.weights[position[tap]])
        self._long_bias = self.bias.repeat(self._matrix.shape[0])

    def forward(self, x: Tensor, addend: Tensor | None = None) -> Tensor:
        """Return outputs of the layer. Maps are in channels-last order, before and after."""
        if self.is_matrix:
            return self._product(x, self.weights[:, 0], self.bias, addend)
        n, out = len(x), len(self.bias)
        height, width = self.shape.after
        match self.shape.form:
            case "convolution":
                return self._convolution(x, addend)
            case "matrix":
                rows = x[:, :, :: self.shape.stride[0], :: self.shape.stride[1]].permute(0, 2, 3, 1)
                rows = rows.reshape(n * height * width, -1)
                weight, bias = self.weights[:, 0], self.bias
            case "dense":
                rows = x.permute(0, 2, 3, 1).reshape(n, -1)
                weight, bias = self._matrix.view(height * width * out, -1), self._long_bias
            case _:
                assert_never(self.shape.form)
        like = addend.permute(0, 2, 3, 1).reshape(len(rows), -1) if addend is not None else None
        return self._product(rows, weight, bias, like).view(n, height, width, out).permute(0, 3, 1, 2)

    def _product(self, rows: Tensor, weight: Tensor, bias: Tensor, addend: Tensor | None) -> Tensor:
        if addend is None:
            done = multiply(rows, weight, bias)
        else:
            done = _ONEDNN._linear_pointwise.binary(rows, addend, weight, bias, "add")  # noqa: SLF001
        return self._activated(done)

    def _convolution(self, x: Tensor, addend: Tensor | None) -> Tensor:
        shape = self.shape
        weight = self.weights.view(len(self.bias), *shape.kernel, -1).permute(0, 3, 1, 2)
        done = torch.conv2d(x, weight, self.bias, shape.stride, shape.padding, shape.dilation, shape.groups)
        return self._activated(done if addend is None else done.add_(addend))

    def _activated(self, outputs: Tensor) -> Tensor:
        # Not by oneDNN, whose ReLU turns nan into 0: non-finite points must remain visible
        return outputs.relu_() if self.relu else outputs


def make_layer(shape: Shape, module: nn.Conv2d | nn.Linear) -> Layer:
    """Return the layer that replaces `module`."""
    return Layer(shape, weight=module.weight, is_matrix=isinstance(module, nn.Linear))


def multiply(
    rows: Float32[Tensor, "R K"], weight: Float32[Tensor, "M K"], bias: Tensor | None
) -> Float32[Tensor, "R M"]:
    """Return oneDNN's matrix product of rows and the transposed weight, plus the bias."""
    product: Tensor = _ONEDNN._linear_pointwise(rows, weight, bias, "none", [], "")  # noqa: SLF001
    return product


def is_supported() -> bool:
    """Return whether torch has the functions that `multiply` calls."""
    return bool(torch.backends.mkldnn.is_available()) and hasattr(_ONEDNN, "_linear_pointwise")  # type: ignore[no-untyped-call]


def shape_of(module: nn.Conv2d | nn.Linear, *, before: Sequence[int], after: Sequence[int]) -> Shape | None:
    """Return the shape of a module with these input and output sizes; None for a padding that oneDNN does not support."""
    if isinstance(module, nn.Linear):
        return Shape((1, 1), (1, 1), (0, 0), (1, 1), 1, (1, 1), (1, 1))
    if module.padding_mode != "zeros" or isinstance(module.padding, str) or len(before) != 4:
        return None
    kernel, stride, padding, dilation = (
        _pair(value) for value in (module.kernel_size, module.stride, module.padding, module.dilation)
    )
    return Shape(kernel, stride, padding, dilation, module.groups, _pair(before[2:]), _pair(after[2:]))


def _pair(values: Sequence[int]) -> tuple[int, int]:
    first, second = values
    return first, second


def _places(size: tuple[int, int]) -> list[tuple[int, int]]:
    return [(row, column) for row in range(size[0]) for column in range(size[1])]
