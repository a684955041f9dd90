"""A network with batch norm, as the network without it that gives the same outputs in eval mode: its graph, rewritten once.

    convolution or matrix -> batch norm -> [+ addend] -> [ReLU]      one `Layer`, with weights that change from point to point

Everything that isn't of this shape stays as it is. What a point of a surface is for a layer (`Fold`): which parts of theta its
weights come from, and the stored statistics that scale them.
"""

from __future__ import annotations

import copy
import operator
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from tmrepro.surface.layers import Layer, shape_of

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_RELUS = {torch.relu, torch.relu_, nn.functional.relu, nn.functional.relu_}


@dataclass(frozen=True)
class Norm:
    """A batch norm in eval mode: (z - mean) x inverse x weight + bias, in float64; its parameters by name, if it has any."""

    weight: str | None
    bias: str | None
    mean: Tensor
    inverse: Tensor


@dataclass(frozen=True)
class Fold:
    """A layer, and the names of the parameters that its weights are made of."""

    layer: Layer
    weight: str
    bias: str | None
    norm: Norm | None


@dataclass(frozen=True)
class FoldedNetwork:
    """`network` gives logits once every layer of `folds` has its weights; `others` are its parameters that are none of theirs."""

    network: fx.GraphModule
    folds: tuple[Fold, ...]
    others: dict[str, nn.Parameter]


def fold_network(model: nn.Module, inputs: Tensor) -> FoldedNetwork | str:
    """`model` folded, or the reason why it can't be. `inputs` [n, ...] are some of its inputs, for the sizes of maps."""
    own = copy.deepcopy(model).eval()
    for value in own.parameters():
        value.requires_grad_(False)  # noqa: FBT003 - torch's stub has no other way
    try:
        traced = fx.symbolic_trace(own)
    except Exception as error:  # noqa: BLE001 - whatever a user's forward does with a proxy
        return f"its graph cannot be traced ({type(error).__name__})"
    names = {id(value): name for name, value in own.named_parameters()}
    sizes = _Sizes(traced)
    try:
        with torch.no_grad():
            same = torch.equal(sizes.run(inputs.clone()), own(inputs.clone()))
    except Exception as error:  # noqa: BLE001 - such as a batch norm that wants many images at once
        return f"it fails on {len(inputs)} inputs alone ({type(error).__name__})"
    if not same:
        return "its graph gives other outputs than itself"
    folds = list(_make_layers(traced, names=names, sizes=sizes.found))
    if not any(fold.norm for fold in folds):
        return "it has no batch norm behind a convolution or matrix"
    _fuse(traced, sizes.found)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    traced.delete_all_unused_submodules()
    others = {names[id(value)]: value for value in traced.parameters() if id(value) in names}
    return FoldedNetwork(traced, tuple(folds), others)


def has_norms(model: nn.Module) -> bool:
    """Whether there is any batch norm that could be folded."""
    return any(type(module) in _NORMS for module in model.modules())


class _Sizes(fx.Interpreter):
    """Runs a network and keeps the size of what each node gives."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.found: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        with torch.no_grad():
            result = super().run_node(n)
        if isinstance(result, Tensor):
            self.found[n] = tuple(result.shape)
        return result


def _make_layers(traced: fx.GraphModule, *, names: dict[int, str], sizes: dict[fx.Node, tuple[int, ...]]) -> list[Fold]:
    """Put a `Layer` in the place of every convolution and matrix whose weights are its own, with its batch norm if it has one."""
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
        follower = _only_user(node)
        norm = _norm(traced, follower, calls, holders, names) if follower is not None else None
        layer = Layer(shape, weight=module.weight, is_matrix=isinstance(module, nn.Linear))
        folds.append(Fold(layer, names[id(module.weight)], _name(module.bias, names), norm))
        traced.set_submodule(str(node.target), layer)
        if norm is not None and follower is not None:
            follower.replace_all_uses_with(node)
            traced.graph.erase_node(follower)
            sizes[node] = sizes[follower]
    return folds


def _fuse(traced: fx.GraphModule, sizes: dict[fx.Node, tuple[int, ...]]) -> None:
    """Let layers add what is added to their outputs in the next step, and apply the ReLU that follows."""
    for node in list(traced.graph.nodes):
        if not isinstance(layer := _module(traced, node), Layer):
            continue
        follower = _only_user(node)
        if follower is not None and follower is node.next and _is_sum(follower):
            addend = next((value for value in follower.args if value is not node), None)
            if isinstance(addend, fx.Node) and sizes.get(addend) == sizes[node] == sizes[follower]:
                node.args = (node.args[0], addend)
                follower.replace_all_uses_with(node)
                traced.graph.erase_node(follower)
                follower = _only_user(node)
        if follower is not None and follower is node.next and _is_relu(traced, follower):
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
    """The batch norm that `node` is, if its parameters and statistics are fixed and its own."""
    module = _module(traced, node)
    if type(module) not in _NORMS or not isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        return None
    if module.running_mean is None or module.running_var is None or len(node.args) != 1:
        return None
    if not _is_own(module, calls[node.target], holders):
        return None
    # A root of NumPy's is rounded correctly; torch's differs by processor.
    inverse = 1 / np.sqrt(module.running_var.double().numpy() + module.eps)
    return Norm(
        _name(module.weight, names),
        _name(module.bias, names),
        module.running_mean.double(),
        torch.from_numpy(inverse),
    )


def _is_own(module: nn.Module, calls: int, holders: Counter[int]) -> bool:
    """Whether nothing else uses the module or its parameters, and nobody watches it."""
    watched = any(vars(module)[hooks] for hooks in ("_forward_hooks", "_forward_pre_hooks"))
    return calls == 1 and not watched and all(holders[id(value)] == 1 for value in module.parameters())


def _module(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is_sum(node: fx.Node) -> bool:
    is_function = node.op == "call_function" and node.target in {operator.add, operator.iadd, torch.add}
    is_method = node.op == "call_method" and node.target == "add"
    return (is_function or is_method) and len(node.args) == 2 and not node.kwargs


def _is_relu(traced: fx.GraphModule, node: fx.Node) -> bool:
    match node.op:
        case "call_module":
            module = _module(traced, node)
            return type(module) is nn.ReLU and not vars(module)["_forward_hooks"]
        case "call_function":
            return node.target in _RELUS
        case "call_method":
            return node.target in {"relu", "relu_"}
        case _:
            return False


def _name(value: Tensor | None, names: dict[int, str]) -> str | None:
    return None if value is None else names[id(value)]
