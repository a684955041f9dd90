"""Finds a user's function by its dotted path, and calls it. Importing it runs the user's code."""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tmrepro.errors import UsageError


@contextmanager
def importable_from(folder: Path | None) -> Iterator[None]:
    """Let Python find modules in `folder` too, after all other places; None: change nothing."""
    added = None if folder is None else str(folder.resolve())
    if added is None or added in sys.path:
        yield
        return
    sys.path.append(added)
    try:
        yield
    finally:
        sys.path.remove(added)


def load_factory(path: str) -> Callable[..., Any]:
    """Return the callable that "package.module:function" names. Importing it runs that package's code.

    Raises:
        UsageError: it cannot be imported, or is not a function.
    """
    module_name, _, function = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), function)
    except Exception as error:
        raise UsageError(
            f"factory {path!r} cannot be loaded: {type(error).__name__}: {error}. "
            "Expected an importable 'package.module:function', beside the spec file or on PYTHONPATH"
        ) from error
    if not callable(factory):
        raise UsageError(f"factory {path!r} is {type(factory).__name__}, expected a function")
    return factory  # type: ignore[no-any-return]


def call_factory(path: str, arguments: Mapping[str, Any]) -> Any:
    """Call the function `path` with keyword arguments. Return its result.

    Raises:
        UsageError: as `load_factory`, or the function raises.
    """
    factory = load_factory(path)
    try:
        return factory(**copy.deepcopy(dict(arguments)))  # a copy, which the factory may change
    except Exception as error:
        raise UsageError(
            f"factory {path!r} failed with the arguments {dict(arguments)}: {type(error).__name__}: {error}"
        ) from error
