"""A network's graph, and the check that it computes the same as the network. All evaluators that rewrite a network need it.

torch.fx traces it, so networks with a custom forward are supported. A graph is refused if it could differ from the network
away from the point where it was traced: if values of parameters became constants, or if an operation changes a value in
place that is read under another name.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from tmrepro.numerics.portable_normal import standard_normal
from tmrepro.surface.state import same_values
from tmrepro.surface.watch import Watch, storages, storages_of

TRIED = 5  # inputs for the comparison of a graph with its network, in batches of two, three and one
AWAY = (1.0, -2.0)  # distances from theta*, in root mean squares of each parameter
_PATTERN = 4099  # length of the pattern that is repeated over a parameter; a prime, so that it fits no shape


class Uncut(Exception):  # noqa: N818 - not an error, but the reason why there is no graph or no cut
    """The reason why a network cannot be rewritten."""


@dataclass(frozen=True)
class Trace:
    """`graph` computes the same as `network`, a copy of a user's network in eval mode. Both have the same modules.

    They are shared: copy them before changing them.
    """

    network: nn.Module
    graph: fx.GraphModule

    def copied(self) -> Trace:
        """Return a copy that may be changed."""
        network, graph = copy.deepcopy((self.network, self.graph))
        return Trace(network, graph)


def trace_network(model: nn.Module, inputs: Tensor) -> Trace:
    """Trace `model`, and compare the graph with it at theta* and away from it, on some of its `inputs` [n, ...].

    Raises:
        Uncut: the network cannot be traced, or its graph could give other outputs.
    """
    if has_hooks(model):
        raise Uncut("it has hooks")
    strange = [
        str(value.dtype) for value in model.buffers() if value.is_floating_point() and value.dtype != torch.float32
    ]
    if strange:
        raise Uncut(f"it has buffers of {strange[0].removeprefix('torch.')}")
    network = copy.deepcopy(model).eval()
    try:
        with torch.no_grad():
            graph = _graph(network)
            _check_changes(graph, network, inputs[:2].clone())
            _compare(graph, network, inputs[:TRIED], theta=list(model.parameters()))
    except Uncut:
        raise
    except Exception as error:  # the user's code may raise anything on proxies
        raise Uncut(f"its forward cannot be traced ({type(error).__name__})") from error
    return Trace(network, graph)


def has_hooks(module: nn.Module) -> bool:
    """Return whether a module has hooks in addition to its forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks)  # noqa: SLF001 - torch has no public attribute


@contextmanager
def away(model: nn.Module, *, reach: float) -> Iterator[None]:
    """Move every parameter by `reach` times its root mean square while the body runs. Restore them afterwards."""
    pattern = torch.from_numpy(standard_normal(1, size=_PATTERN))
    values = list(model.parameters())
    before = [value.detach().clone() for value in values]
    with torch.no_grad():
        for value in values:
            _move(value, pattern.to(value.device), reach=reach)
    try:
        yield
    finally:
        with torch.no_grad():
            for value, old in zip(values, before, strict=True):
                value.copy_(old)


def _move(value: Tensor, pattern: Tensor, *, reach: float) -> None:
    """Add a repeated pattern times `reach` times the root mean square of `value`, without expanding the pattern."""
    if not value.numel():
        return
    step = reach * (float(value.norm()) / math.sqrt(value.numel()) or 0.1)
    flat = value.view(-1) if value.is_contiguous() else value.reshape(-1)
    whole = len(flat) - len(flat) % len(pattern)
    flat[:whole].view(-1, len(pattern)).add_(pattern, alpha=step)
    flat[whole:].add_(pattern[: len(flat) - whole], alpha=step)
    if not value.is_contiguous():
        value.copy_(flat.view(value.shape))


def _graph(network: nn.Module) -> fx.GraphModule:
    """Return the graph of a network. Raise if a value of a parameter became a constant in it."""
    with Watch() as watch:
        graph = fx.symbolic_trace(network)
    if watch.taken & storages_of(network):
        raise Uncut("its forward computes with parameters outside of layers")
    return graph


def _check_changes(graph: fx.GraphModule, network: nn.Module, inputs: Tensor) -> None:
    """Raise `Uncut` unless every value that is changed in place is read only as the result of that change."""
    run = _Changes(graph)
    with Watch() as watch:
        run.run(inputs)
    if watch.changed & (storages_of(network) | storages(network.buffers())):
        raise Uncut("its forward changes its parameters or buffers")
    if watch.changed & storages([inputs]):
        raise Uncut("its forward changes its inputs")
    order = {node: position for position, node in enumerate(graph.graph.nodes)}
    for node, values in run.changes:
        if not node.users:
            raise Uncut(f"{words(graph, node)} changes a value in place, and its result is not used")
        for value in values:
            if any(order[user] > order[node] for user in value.users if user is not node):
                raise Uncut(f"{words(graph, node)} changes in place what is used again")


class _Changes(fx.Interpreter):
    """Runs a graph and finds the earlier values, under all of their names, that each node changes in place."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph, garbage_collect_values=False)
        self.changes: list[tuple[fx.Node, list[fx.Node]]] = []

    def run_node(self, n: fx.Node) -> Any:
        before = {node: value._version for node, value in self.env.items() if isinstance(value, Tensor)}  # noqa: SLF001
        result = super().run_node(n)
        values = [node for node, version in before.items() if self.env[node]._version != version]  # noqa: SLF001
        if values:
            self.changes.append((n, values))
        return result


def _compare(graph: fx.GraphModule, network: nn.Module, inputs: Tensor, *, theta: Sequence[Tensor]) -> None:
    """Raise `Uncut` unless the graph gives the network's own outputs: at theta* in several batches, away from it in one each."""
    batches = [inputs[:2], *(inputs[begin:end] for begin, end in ((2, TRIED), (0, 1)) if len(inputs) > begin)]
    _agree(graph, network, batches)
    for reach, batch in zip(AWAY, itertools.cycle(batches), strict=False):
        with away(network, reach=reach):
            _agree(graph, network, [batch])
    if not all(same_values(mine.detach(), own.detach()) for mine, own in zip(network.parameters(), theta, strict=True)):
        raise Uncut("its forward changes its parameters or buffers")


def _agree(graph: fx.GraphModule, network: nn.Module, batches: Sequence[Tensor]) -> None:
    for batch in batches:
        # An interpreter, since a failing graph module prints its own traceback.
        found, expected = fx.Interpreter(graph).run(batch.clone()), network(batch.clone())
        if not (isinstance(found, Tensor) and isinstance(expected, Tensor) and same_values(found, expected)):
            raise Uncut("its graph gives other outputs than itself")


def words(graph: fx.GraphModule, node: fx.Node) -> str:
    """Describe `node` in a word."""
    if node.op == "call_module":
        return type(graph.get_submodule(str(node.target))).__name__
    return str(getattr(node.target, "__name__", node.target))
