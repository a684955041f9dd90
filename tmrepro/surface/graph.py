"""A network's graph, cut as faster evaluators need it: `inputs -> before -> first -> ... -> second -> tail -> logits`.

`first` is the first layer with parameters. If it is linear, its outputs are linear in the coordinates of the surface,
whatever follows.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from tmrepro.surface.trace import Trace, Uncut, has_hooks, words

Operator = nn.Linear | nn.Conv2d

_RELU_FUNCTIONS = (torch.relu, torch.relu_, nn.functional.relu, nn.functional.relu_)
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_RELU_METHODS = ("relu", "relu_")
_FLATTEN_METHODS = ("flatten",)


@dataclass(frozen=True)
class Cut:
    """`before` has no parameters. `first` and `second` are layers, by name. `tail` is all that follows.

    All consist of the modules of `network`, which belong to the trace: copy a part before changing it.

    Without a second layer (`second` is None) the tail begins after the first. `flattened`: the input of the second layer is one
    vector per image, and the output of the first one is maps. `relu`: the second layer's outputs pass a ReLU, and the tail
    begins after it.
    """

    network: nn.Module
    before: nn.Module
    first: Operator
    first_name: str
    second: Operator | None
    second_name: str | None
    flattened: bool
    relu: bool
    tail: fx.GraphModule


def cut_behind_first(trace: Trace) -> Cut:
    """Cut a network after its first layer.

    Raises:
        Uncut: the first layer is not linear, or what follows depends on more than that layer's outputs.
    """
    network, traced = trace.network, trace.graph
    first = _first_layer(traced)
    return Cut(
        network=network,
        before=_part(traced, _inputs(traced), _only_input(first)),
        first=_operator(traced, first),
        first_name=str(first.target),
        second=None,
        second_name=None,
        flattened=False,
        relu=False,
        tail=_behind(traced, first),
    )


def cut_behind_second(trace: Trace) -> Cut:
    """Cut a network, a linear layer, a ReLU, a linear layer and any tail, after its second layer.

    Raises:
        Uncut: the network is not of that kind.
    """
    network, traced = trace.network, trace.graph
    first = _first_layer(traced)
    operator = _operator(traced, first)
    node, relus, flattened = _next(first), 0, False
    while not is_layer(traced, node):
        if is_relu(traced, node):
            relus += 1
        elif is_flatten(traced, node):
            flattened = True
        elif not is_identity(traced, node):
            raise Uncut(f"{words(traced, node)} follows the first layer, not a ReLU and a linear layer")
        node = _next(node)
    if not relus:
        raise Uncut("no ReLU between the first two layers")
    second = _operator(traced, node)
    if isinstance(second, nn.Linear) and isinstance(operator, nn.Conv2d) and not flattened:
        raise Uncut("the second layer is a matrix on maps")
    last, relu = node, False
    followers = list(node.users)
    if len(followers) == 1 and is_relu(traced, followers[0]):
        last, relu = followers[0], True
    return Cut(
        network=network,
        before=_part(traced, _inputs(traced), _only_input(first)),
        first=operator,
        first_name=str(first.target),
        second=second,
        second_name=str(node.target),
        flattened=flattened,
        relu=relu,
        tail=_behind(traced, last),
    )


def names_in(part: fx.GraphModule, *, of: nn.Module) -> dict[str, str]:
    """Map the names of a part's parameters to those in the network `of`, which may differ. Each parameter is listed once."""
    known = {id(value): name for name, value in of.named_parameters()}
    return {name: known[id(value)] for name, value in part.named_parameters()}


def layer_of(parts: Mapping[str, Tensor], name: str | None) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias (None if it has none) of the layer `name`, from parameters by name."""
    return parts[f"{name}.weight"], parts.get(f"{name}.bias")


def apply_layer(layer: Operator, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Apply `layer` with other parameters."""
    if isinstance(layer, nn.Linear):
        return functional.linear(x, weight, bias)
    padding: Any = layer.padding
    return functional.conv2d(x, weight, bias, layer.stride, padding, layer.dilation)


def module_of(traced: fx.GraphModule, node: fx.Node) -> nn.Module:
    """Return the module that `node` calls."""
    return traced.get_submodule(str(node.target))


def is_layer(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Return whether `node` calls a module with parameters."""
    return node.op == "call_module" and any(True for _ in module_of(traced, node).parameters())


def is_relu(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Return whether `node` is a ReLU, as a module, a function or a method."""
    match node.op:
        case "call_module":
            module = module_of(traced, node)
            return type(module) is nn.ReLU and not has_hooks(module)
        case "call_function":
            return node.target in _RELU_FUNCTIONS
        case "call_method":
            return node.target in _RELU_METHODS
        case _:
            return False


def is_flatten(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Return whether `node` makes one vector of each image, in the order of memory."""
    match node.op:
        case "call_module":
            module = module_of(traced, node)
            is_whole = type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)
            return is_whole and not has_hooks(module)
        case "call_function" | "call_method":
            is_it = node.target is torch.flatten or node.target in _FLATTEN_METHODS
            return is_it and list(_plain(node.args[1:])) in ([1], [1, -1]) and not node.kwargs
        case _:
            return False


def is_sum(node: fx.Node) -> bool:
    """Return whether `node` adds two values."""
    is_function = node.op == "call_function" and node.target in {operator.add, operator.iadd, torch.add}
    is_method = node.op == "call_method" and node.target == "add"
    return (is_function or is_method) and len(node.args) == 2 and not node.kwargs


def is_identity(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Return whether `node` does nothing in eval mode."""
    if node.op != "call_module":
        return False
    module = module_of(traced, node)
    does_nothing = type(module) is nn.Identity or (type(module) in _DROPOUTS and not module.training)
    return does_nothing and not has_hooks(module)


def _inputs(traced: fx.GraphModule) -> fx.Node:
    found: list[fx.Node] = [node for node in traced.graph.nodes if node.op == "placeholder"]
    if len(found) != 1:
        raise Uncut("its forward takes more than the images")
    return found[0]


def _first_layer(traced: fx.GraphModule) -> fx.Node:
    node: fx.Node
    for node in traced.graph.nodes:
        if node.op == "get_attr" and _is_parameter(traced, str(node.target)):
            raise Uncut("a parameter is used outside a layer")
        if is_layer(traced, node):
            return node
    raise Uncut("it has no layer")


def _operator(traced: fx.GraphModule, node: fx.Node) -> Operator:
    """Return the layer of `node`, if it is torch's matrix or convolution, used once, and its parameters are not shared."""
    module, name = module_of(traced, node), str(node.target)
    match module:
        case nn.Conv2d() if type(module) is nn.Conv2d:
            if module.groups != 1 or module.padding_mode != "zeros" or isinstance(module.padding, str):
                raise Uncut(f"{name} is a convolution with groups or padding of another kind")
        case nn.Linear() if type(module) is nn.Linear:
            pass
        case _:
            raise Uncut(
                f"{name}, the {'first' if node is _first_layer(traced) else 'second'} layer, is a {type(module).__name__}"
            )
    if set(dict(module.named_parameters())) - {"weight", "bias"} or has_hooks(module):
        raise Uncut(f"{name} is more than a plain layer")
    if sum(str(other.target) == name for other in traced.graph.nodes if other.op == "call_module") > 1:
        raise Uncut(f"{name} is used more than once")
    own = {id(value) for value in module.parameters()}
    owners = [
        n for n, other in traced.named_modules() if own & {id(value) for value in other.parameters(recurse=False)}
    ]
    if owners != [name]:
        raise Uncut(f"{name} shares its parameters")
    _only_input(node)
    return module


def _behind(traced: fx.GraphModule, node: fx.Node) -> fx.GraphModule:
    output = next(other for other in traced.graph.nodes if other.op == "output")
    return _part(traced, node, output.all_input_nodes[0] if len(output.all_input_nodes) == 1 else output)


def _part(traced: fx.GraphModule, begin: fx.Node, end: fx.Node) -> fx.GraphModule:
    """Return the graph from the value of `begin` to that of `end`. Raise if it needs other values computed before."""
    graph, placed = fx.Graph(), {}
    placed[begin] = graph.placeholder("x")
    wanted = _needed(begin, end)
    for node in traced.graph.nodes:
        if node in wanted:
            if node.op == "placeholder":
                raise Uncut("something behind the cut depends on what comes before it")
            placed[node] = graph.node_copy(node, lambda other: placed[other])
    graph.output(placed[end])
    return fx.GraphModule(traced, graph)


def _needed(begin: fx.Node, end: fx.Node) -> set[fx.Node]:
    found: set[fx.Node] = set()
    waiting = [end]
    while waiting:
        node = waiting.pop()
        if node is not begin and node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def _only_input(node: fx.Node) -> fx.Node:
    if len(node.all_input_nodes) != 1 or len(node.args) != 1 or node.kwargs:
        raise Uncut(f"{node.target} takes more than one input")
    return node.all_input_nodes[0]


def _next(node: fx.Node) -> fx.Node:
    users = list(node.users)
    if len(users) != 1 or users[0].op == "output":
        raise Uncut("its first two layers do not follow one another")
    return users[0]


def _is_parameter(traced: fx.GraphModule, name: str) -> bool:
    return name in dict(traced.named_parameters())


def _plain(arguments: Sequence[object]) -> Iterable[object]:
    return (argument for argument in arguments if not isinstance(argument, fx.Node))
