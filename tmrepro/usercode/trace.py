"""`code_of`: the code of a factory. The factory is used once, and what it imports and executes then is recorded.

Imports with literal names are found by reading the sources. Imports with computed names, and executed files that are not
modules, are found when the factory is called and its network runs.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from tmrepro.errors import UsageError
from tmrepro.usercode.closure import close
from tmrepro.usercode.origin import find_source, kind_of_file, sources_of
from tmrepro.usercode.record import ENTRIES_LIMIT, CodeRecord

# Factory -> what identifies the loading of its module, and the modules found by its use. Loaded modules are not found again.
_shown: dict[str, tuple[object, set[str]]] = {}


def code_of(factory: str, *, use: Callable[[], Iterable[object]]) -> CodeRecord:
    """Return the code of `factory` ("package.module:function").

    `use` calls the factory, runs its result once, and returns the objects in it, whose classes count as well.

    Raises:
        UsageError: a module has no readable file, or was changed since it was loaded; and what `use` raises.
    """
    importlib.invalidate_caches()  # a file may be new
    start = factory.partition(":")[0]
    before = set(sys.modules)
    with suppress(Exception):  # `use` reports the error
        importlib.import_module(start)
    with _watching(use) as watched:
        objects = list(use())
    names = {name for name in set(sys.modules) - before if _is_users(name)} | watched.names
    by_path = {getattr(module, "__file__", None): name for name, module in list(sys.modules.items())}
    executed = {path for path in watched.paths if not path.startswith("<") and kind_of_file(path) == "user"}
    names |= {by_path[path] for path in executed if path in by_path}
    loading = getattr(sys.modules.get(start), "__spec__", None)
    known = _shown.get(factory)
    shown = names | (known[1] if known is not None and known[0] is loading else set())
    _shown[factory] = (loading, shown)
    made = {kind.__module__ for thing in objects for kind in type(thing).__mro__}
    function = getattr(sys.modules.get(start), factory.partition(":")[2], None)
    made |= {start, str(getattr(function, "__module__", None) or start)}
    found = close(sorted(shown | made), files=sorted(executed - by_path.keys()), before=before)
    files = found.files()
    if max(len(files), len(found.distributions)) > ENTRIES_LIMIT:
        raise UsageError(f"factory {factory!r} loads {len(files)} files of yours, expected at most {ENTRIES_LIMIT}")
    told = [f"{name} gives text to exec" for name in sorted({*found.executing, *watched.texts(by_path)})]
    notes = tuple(
        f"code: {words}: what that defines is not in the record, and a change of it goes unseen" for words in told
    )
    return CodeRecord(files, dict(sorted(found.distributions.items())), notes)


def code_as_read(factory: str) -> CodeRecord:
    """Return the code of a `factory` that cannot be used, as far as its imports show."""
    importlib.invalidate_caches()
    found = close([factory.partition(":")[0]], before=())
    return CodeRecord(found.files(), found.distributions)


def is_at_hand(factory: str) -> bool:
    """Return whether the module of a factory can be found. It is not imported."""
    importlib.invalidate_caches()
    module = factory.partition(":")[0]
    parent = None
    for end in range(1, module.count(".") + 2):
        parent = find_source(".".join(module.split(".")[:end]), parent=parent)
        if parent is None:
            return False
    return True


class _Watched:
    """The names that were imported, and the paths of files whose code was executed and of those that executed text."""

    def __init__(self, use: Callable[..., Any]) -> None:
        self.names: set[str] = set()
        self.paths: set[str] = set()
        self._exec: set[str] = set()
        self._skip = getattr(use, "__code__", None)
        self._import = importlib.import_module.__code__

    def texts(self, by_path: dict[str | None, str]) -> Iterator[str]:
        """Yield the names of the user's files that executed text."""
        for path in self._exec:
            if not path.startswith("<") and kind_of_file(path) == "user":
                sources = sources_of(by_path[path]) if path in by_path else []
                yield sources[-1].name if sources else Path(path).name

    def event(self, frame: FrameType, event: str, _: object) -> None:
        """Record the start of a function, for `sys.setprofile`."""
        if event != "call":
            return
        code = frame.f_code
        if code is self._import:
            with suppress(Exception):
                name, package = frame.f_locals["name"], frame.f_locals["package"]
                self.names.add(importlib.util.resolve_name(name, package))
        elif code is not self._skip:
            self.paths.add(code.co_filename)
            if code.co_name == "<module>" and code.co_filename == "<string>" and frame.f_back is not None:
                self._exec.add(frame.f_back.f_code.co_filename)


@contextmanager
def _watching(use: Callable[..., Any]) -> Iterator[_Watched]:
    watched, before = _Watched(use), sys.getprofile()
    sys.setprofile(watched.event)
    try:
        yield watched
    finally:
        sys.setprofile(before)


def _is_users(name: str) -> bool:
    module = sys.modules.get(name)
    path = getattr(module, "__file__", None)
    return isinstance(path, str) and kind_of_file(path) == "user"
