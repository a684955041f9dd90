"""The imports in a source: at its top, in functions, under conditions. Nothing is executed."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Imports:
    """`names`: absolute dotted names, some of which may be attributes, not modules. `executes`: text is given to `exec`."""

    names: frozenset[str]
    executes: bool


@lru_cache(maxsize=4096)
def imports_in(source: bytes, *, package: str) -> Imports:
    """Return what `source`, a module of `package`, imports by a literal name; nothing if it is not Python.

    Imports for type checkers only (`if TYPE_CHECKING:`) are left out, because they never run.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return Imports(frozenset(), executes=False)
    nodes = list(_running(tree))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    found = {name for node in nodes for name in _imported(node, package)}
    executes = any(_called(call) == "exec" and not _is_constant(call) for call in calls)
    return Imports(frozenset(found), executes)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes below `node`, except the branches for type checkers."""
    waiting: list[ast.AST] = [node]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in {
            getattr(node.test, "id", ""),
            getattr(node.test, "attr", ""),
        }:
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _imported(node: ast.AST, package: str) -> Iterator[str]:
    match node:
        case ast.Import():
            yield from (alias.name for alias in node.names)
        case ast.ImportFrom():
            base = _absolute("." * node.level + (node.module or ""), package)
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
        case ast.Call() if _called(node) in {"import_module", "__import__"} and _is_constant(node):
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                name = _absolute(argument.value, package)
                if name:
                    yield name


def _absolute(name: str, package: str) -> str | None:
    try:
        return importlib.util.resolve_name(name, package or None)
    except ImportError:
        return None  # relative, beyond the top: it also fails when it is executed


def _called(call: ast.Call) -> str:
    return getattr(call.func, "id", "") or getattr(call.func, "attr", "")


def _is_constant(call: ast.Call) -> bool:
    return bool(call.args) and isinstance(call.args[0], ast.Constant)
