"""Rewrites the graph of a network with batch norm into one without it that gives the same outputs in eval mode.

    convolution or matrix -> batch norm -> [+ addend] -> [ReLU]      one `Layer`, with weights that change from point to point

Everything else stays unchanged. `Fold` describes a layer's weights at a point of a surface: the parameters that they are made
of, and the stored statistics that scale them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, fx, nn

from tmrepro.surface.cpu.layers import Shape, shape_of
from tmrepro.surface.graph import is_relu, is_sum
from tmrepro.surface.trace import Trace, Uncut

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


# The module that replaces a convolution or matrix. It has its own weights. `relu` says whether it ends in a ReLU.
L = TypeVar("L", bound=nn.Module)
MakeLayer = Callable[[Shape, nn.Conv2d | nn.Linear], L | None]


@dataclass(frozen=True)
class Norm:
    """A batch norm in eval mode: (z - mean) x inverse x weight + bias, in float64. Its parameters by name, if it has any."""

    weight: str | None
    bias: str | None
    mean: Tensor
    inverse: Tensor


@dataclass(frozen=True)
class Fold(Generic[L]):
    """A layer, and the names of the parameters for its weights."""

    layer: L
    weight: str
    bias: str | None
    norm: Norm | None

    def scale_and_bias(
        self, at: Callable[[str], Tensor], like: Float64[Tensor, " out"]
    ) -> tuple[Float64[Tensor, " out"], Float64[Tensor, " out"]]:
        """Return the factor of each output's weights, and its bias. `at` returns a parameter at a point, in float64."""
        norm = self.norm
        bias = torch.zeros_like(like) if self.bias is None else at(self.bias)
        if norm is None:
            return torch.ones_like(like), bias
        scale = norm.inverse if norm.weight is None else norm.inverse * at(norm.weight)
        bias = (bias - norm.mean) * scale
        return scale, bias if norm.bias is None else bias + at(norm.bias)


@dataclass(frozen=True)
class FoldedNetwork(Generic[L]):
    """`network` gives logits after every layer of `folds` has its weights. `others` are the parameters that are in no fold.

    `sizes` are those of its nodes' values, for the inputs that it was folded with.
    """

    network: fx.GraphModule
    folds: tuple[Fold[L], ...]
    others: dict[str, nn.Parameter]
    sizes: dict[fx.Node, tuple[int, ...]]


def fold_network(trace: Trace | Uncut, inputs: Tensor, make_layer: MakeLayer[L]) -> FoldedNetwork[L] | str:
    """Return a traced network folded, or why it cannot be. `inputs` [n, ...] are some of its inputs, for the sizes of maps.

    `make_layer` returns the replacement of a convolution or matrix, or None to leave it unchanged.
    """
    if isinstance(trace, Uncut):
        return str(trace)
    own = trace.copied()
    traced = own.graph
    for value in own.network.parameters():
        value.requires_grad_(False)  # noqa: FBT003 - torch's stub has no other way
    names = {id(value): name for name, value in own.network.named_parameters()}
    sizes = _Sizes(traced)
    sizes.run(inputs.clone())
    folds = list(_make_layers(traced, make_layer, names=names, sizes=sizes.found))
    _fuse(traced, sizes.found, {id(fold.layer) for fold in folds})
    traced.graph.eliminate_dead_code()
    traced.recompile()
    traced.delete_all_unused_submodules()
    others = {names[id(value)]: value for value in traced.parameters() if id(value) in names}
    return FoldedNetwork(traced, tuple(folds), others, sizes.found)


def has_norms(model: nn.Module) -> bool:
    """Return whether there is any batch norm that could be folded."""
    return any(type(module) in _NORMS for module in model.modules())


class _Sizes(fx.Interpreter):
    """Runs a network and records the size of each node's value."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.found: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        with torch.no_grad():
            result = super().run_node(n)
        if isinstance(result, Tensor):
            self.found[n] = tuple(result.shape)
        return result


def _make_layers(
    traced: fx.GraphModule, make_layer: MakeLayer[L], *, names: dict[int, str], sizes: dict[fx.Node, tuple[int, ...]]
) -> list[Fold[L]]:
    """Replace every convolution and matrix that does not share its weights by a layer, together with its batch norm, if any."""
    calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    holders = Counter(id(value) for _, value in traced.named_parameters(remove_duplicate=False))
    folds = []
    for node in list(traced.graph.nodes):
        module = _module(traced, node)
        if not isinstance(module, nn.Conv2d | nn.Linear) or type(module) not in {nn.Conv2d, nn.Linear}:
            continue
        if not _is_own(module, calls[node.target], holders) or len(node.args) != 1:
            continue
        shape = shape_of(module, before=sizes[node.args[0]], after=sizes[node])
        if shape is None or (isinstance(module, nn.Linear) and len(sizes[node]) != 2):
            continue
        layer: Any = make_layer(shape, module)
        if layer is None:
            continue
        follower = _only_user(node)
        norm = _norm(traced, follower, calls, holders, names) if follower is not None else None
        folds.append(Fold(layer, names[id(module.weight)], _name(module.bias, names), norm))
        traced.set_submodule(str(node.target), layer)
        if norm is not None and follower is not None:
            follower.replace_all_uses_with(node)
            traced.graph.erase_node(follower)
            sizes[node] = sizes[follower]
    return folds


def _fuse(traced: fx.GraphModule, sizes: dict[fx.Node, tuple[int, ...]], layers: set[int]) -> None:
    """Let layers include the sum and the ReLU that follow them."""
    for node in list(traced.graph.nodes):
        layer: Any = _module(traced, node)
        if id(layer) not in layers:
            continue
        follower = _only_user(node)
        if follower is not None and follower is node.next and is_sum(follower):
            addend = next((value for value in follower.args if value is not node), None)
            if isinstance(addend, fx.Node) and sizes.get(addend) == sizes[node] == sizes[follower]:
                node.args = (node.args[0], addend)
                follower.replace_all_uses_with(node)
                traced.graph.erase_node(follower)
                follower = _only_user(node)
        if follower is not None and follower is node.next and is_relu(traced, follower):
            layer.relu = True
            follower.replace_all_uses_with(node)
            traced.graph.erase_node(follower)


def _norm(
    traced: fx.GraphModule,
    node: fx.Node,
    calls: Counter[Any],
    holders: Counter[int],
    names: dict[int, str],
) -> Norm | None:
    """Return the batch norm of `node`, if its parameters and statistics are fixed and not shared."""
    module = _module(traced, node)
    if type(module) not in _NORMS or not isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        return None
    if module.training or module.running_mean is None or module.running_var is None or len(node.args) != 1:
        return None
    if not _is_own(module, calls[node.target], holders):
        return None
    # NumPy's square root is rounded correctly; torch's depends on the processor.
    inverse = 1 / np.sqrt(module.running_var.double().cpu().numpy() + module.eps)
    return Norm(
        _name(module.weight, names),
        _name(module.bias, names),
        module.running_mean.double(),
        torch.from_numpy(inverse).to(module.running_mean.device),
    )


def _is_own(module: nn.Module, calls: int, holders: Counter[int]) -> bool:
    """Return whether the module and its parameters are used only here, and have no hooks."""
    watched = any(vars(module)[hooks] for hooks in ("_forward_hooks", "_forward_pre_hooks"))
    return calls == 1 and not watched and all(holders[id(value)] == 1 for value in module.parameters())


def _module(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _name(value: Tensor | None, names: dict[int, str]) -> str | None:
    return None if value is None else names[id(value)]
