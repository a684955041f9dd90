"""All modules that some modules import, directly or indirectly: the user's with their hashes, the others by distribution.

The imports are read from the sources, so the result does not depend on what this process loaded before.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType

from tmrepro.usercode.imports import imports_in
from tmrepro.usercode.loaded import checked_digest, content_of
from tmrepro.usercode.origin import Source, distributions_of, kind_of_file, sources_of


@dataclass
class Closure:
    """The modules found, by name with the SHA-256 of their files; loose files by path; distributions with versions."""

    modules: dict[str, tuple[Source, str]] = field(default_factory=dict)
    loose: dict[str, str] = field(default_factory=dict)
    distributions: dict[str, str] = field(default_factory=dict)
    executing: list[str] = field(default_factory=list)

    def files(self) -> dict[str, str]:
        """Return the SHA-256 of each file by its name, relative to the folder from which it is imported."""
        found: dict[str, str] = {}
        named = [(source.name, digest) for source, digest in self.modules.values()]
        roots = {str(source.root) for source, _ in self.modules.values()}
        named += [(_loose_name(path, roots), digest) for path, digest in self.loose.items()]
        for name, digest in sorted(named):
            unique, count = name, 1
            while found.get(unique, digest) != digest:  # two files of one name, from two folders
                count += 1
                unique = f"{name} ({count})"
            found[unique] = digest
        return found


def close(names: Iterable[str], *, files: Iterable[str] = (), before: Collection[str] | None = None) -> Closure:
    """Follow the imports of the modules `names`, and of the `files` that were executed without being modules.

    `before`: modules that were loaded before the user's code was used; None: any may have been.

    Raises:
        UsageError: a module has no readable file, or the loaded module differs from its file.
    """
    found = Closure()
    waiting, seen, installed = list(names), set[str](), set[str]()
    for path in files:
        if kind_of_file(path) == "user" and Path(path).is_file():
            content = Path(path).read_bytes()
            found.loose[path] = hashlib.sha256(content).hexdigest()
            waiting += imports_in(content, package="").names
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for source in sources_of(name):
            if source.kind == "installed":
                # Packages with one top-level name may come from several distributions.
                if source.module not in installed:
                    installed.add(source.module)
                    found.distributions |= distributions_of(source)
            elif source.kind in {"user", "unreadable"} and source.module not in found.modules:
                content = content_of(source)
                fresh = before is not None and source.module not in before
                found.modules[source.module] = (source, checked_digest(source, content, fresh=fresh))
                found.distributions |= distributions_of(source)
                imports = imports_in(content, package=source.package)
                if imports.executes:
                    found.executing.append(source.name)
                waiting += [*imports.names, *_held(source.module)]
    return found


def _held(name: str) -> Iterator[str]:
    """Yield the names of modules that a loaded module refers to, directly or by a class or function."""
    module = sys.modules.get(name)
    for value in list(vars(module).values()) if module is not None else ():
        if isinstance(value, ModuleType):
            # A package refers to all of its imported modules.
            if not value.__name__.startswith(f"{name}.") and sys.modules.get(value.__name__) is value:
                yield value.__name__
        elif isinstance(value, type | FunctionType) and isinstance(value.__module__, str):
            yield value.__module__


def _loose_name(path: str, roots: Collection[str]) -> str:
    where = Path(path).resolve()
    places = [Path(place or ".").resolve() for place in (*roots, *sys.path)]
    holding = [place for place in places if where.is_relative_to(place)]
    return where.relative_to(max(holding, key=lambda place: len(place.parts))).as_posix() if holding else where.name
