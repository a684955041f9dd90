"""A function of the user's: found by its dotted path and called. Importing it runs the user's code."""

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
    """Python finds modules in `folder` too, after all other places; None: as before."""
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
    """The callable that "package.module:function" names. Importing it runs that package's code.

    Raises:
        UsageError: it cannot be imported, or is no function.
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
    """What the function of that path returns for its keyword arguments.

    Raises:
        UsageError: as `load_factory`, or the function raises.
    """
    factory = load_factory(path)
    try:
        return factory(**copy.deepcopy(dict(arguments)))  # a copy: what the factory does to lists stays its own
    except Exception as error:
        raise UsageError(
            f"factory {path!r} failed with the arguments {dict(arguments)}: {type(error).__name__}: {error}"
        ) from error
