"""Compares the code that this process has loaded with its file. Otherwise the file's hash may stand for code that did not run.

Python does not keep the source of what it loads. So the hash of a file is kept when it is first seen here. If the module was
loaded before that, its functions, classes and plain values are compared with those of the file. Python's bytecode cache is
not trusted either: it identifies a source by its size and the second of its change.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from tmrepro.errors import UsageError
from tmrepro.usercode.origin import Source

_PLAIN = (int, float, complex, str, bytes, bool, type(None))
# Module -> what identifies its loading (a reload makes another spec), and the SHA-256 of its file when first seen.
_seen: dict[str, tuple[object, str]] = {}


def content_of(source: Source) -> bytes:
    """Return the bytes of a module's file, also of one in a zip archive.

    Raises:
        UsageError: there is no file, for example because the module is a notebook.
    """
    if source.path is not None:
        try:
            return Path(source.path).read_bytes()
        except OSError:
            read = getattr(source.loader, "get_data", None)
            if read is not None:
                try:
                    return bytes(read(source.path))
                except OSError:
                    pass
    where = "a notebook or at the prompt" if source.module == "__main__" else "no file that can be read"
    raise UsageError(
        f"code: module {source.module!r} is defined in {where}, so the code that ran could not be checked later; put it into a "
        "file that can be imported"
    )


def checked_digest(source: Source, content: bytes, *, fresh: bool) -> str:
    """Return the SHA-256 of a module's file if this process runs, or would run, that file. `fresh`: loaded just now.

    Raises:
        UsageError: another version of it is loaded, or cached as bytecode.
    """
    digest = hashlib.sha256(content).hexdigest()
    module = sys.modules.get(source.module)
    if module is None:
        _check_bytecode(source, content)
        return digest
    loading = getattr(module, "__spec__", None) or module
    known = _seen.get(source.module)
    if known is not None and known[0] is loading:
        if known[1] != digest:
            raise _changed(source)
        return digest
    _check_bytecode(source, content)
    if not fresh and type(source.loader) is SourceFileLoader and not _is_loaded(module, content):
        raise _changed(source)
    _seen[source.module] = (loading, digest)
    return digest


def _changed(source: Source) -> UsageError:
    return UsageError(
        f"code: {source.name} was changed after this Python loaded it, so the old code would run; "
        "restart Python (in a notebook: the kernel; else: run the same command again)"
    )


def _check_bytecode(source: Source, content: bytes) -> None:
    """Raise UsageError if Python would use bytecode from its cache that differs from that of the source."""
    if type(source.loader) is not SourceFileLoader:
        return
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loaded = source.loader.get_code(source.module)
        written = _compiled(content)
    except (ImportError, SyntaxError, ValueError, OSError):
        return  # loading it reports the error
    finally:
        sys.dont_write_bytecode = before
    if loaded != written:
        raise UsageError(
            f"code: the bytecode of {source.name} in __pycache__ is from another source with the same size and time; delete "
            "the folder __pycache__ beside it"
        )


def _is_loaded(module: ModuleType, content: bytes) -> bool:
    """Return whether the functions and plain values of `module` are those of its source."""
    try:
        known, tree = set(_codes(_compiled(content))), ast.parse(content)
    except (SyntaxError, ValueError):
        return False
    if not all(function.__code__ in known for function in _functions(module)):
        return False
    return all(_agrees(module, name, value) for name, value in _once_assigned(tree))


def _compiled(content: bytes) -> CodeType:
    return compile(content, "<source>", "exec", dont_inherit=True, optimize=-1)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    """Yield all functions that the file of `module` defines, including those in its classes."""
    waiting: list[Any] = list(vars(module).values())
    classes: set[type] = set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, staticmethod | classmethod):
            value = value.__func__
        if isinstance(value, property):
            waiting += [value.fget, value.fset, value.fdel]
        elif isinstance(value, FunctionType):
            if value.__module__ == module.__name__ and value.__code__.co_filename == module.__file__:
                yield value
        elif isinstance(value, type) and value.__module__ == module.__name__ and value not in classes:
            classes.add(value)
            waiting += vars(value).values()


def _once_assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield each name that is assigned once, at the top of a module, with its expression."""
    stored = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    rebound = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = getattr(node, "value", None)
        if len(targets) == 1 and isinstance(targets[0], ast.Name) and isinstance(value, ast.expr):
            name = targets[0].id
            if stored.count(name) == 1 and name not in rebound:
                yield name, value


def _agrees(module: ModuleType, name: str, value: ast.expr) -> bool:
    """Return whether `module.name` can be the value of an expression; True if only executing it could tell."""
    missing = object()
    found = vars(module).get(name, missing)
    if found is missing:
        return False
    try:
        literal = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _refers(module, found, value)
    if isinstance(literal, _PLAIN) or (isinstance(literal, tuple) and all(isinstance(one, _PLAIN) for one in literal)):
        return type(found) is type(literal) and repr(found) == repr(literal)
    return True


def _refers(module: ModuleType, found: object, value: ast.expr) -> bool:
    """Return whether `found` fits `x = nn.GELU` (that class) or `x = nn.GELU()` (an instance of it)."""
    called = isinstance(value, ast.Call)
    target: Any = _resolved(module, value.func if isinstance(value, ast.Call) else value)
    if target is None:
        return True
    try:
        if called:
            return not isinstance(target, type) or isinstance(found, type | target)
        return found is target or bool(found == target)
    except Exception:  # noqa: BLE001 - a comparison of the user's objects may raise anything
        return True


def _resolved(module: ModuleType, value: ast.expr) -> object:
    names = []
    while isinstance(value, ast.Attribute):
        names.append(value.attr)
        value = value.value
    if not isinstance(value, ast.Name):
        return None
    found: object = vars(module).get(value.id)
    for name in reversed(names):
        found = getattr(found, name, None)
    return found
