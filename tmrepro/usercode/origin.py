"""The origin of a module: the user, an installed package, or Python itself. Nothing is imported to find it."""

from __future__ import annotations

import sys
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Literal

Kind = Literal["user", "installed", "namespace", "python", "unreadable"]
SITES = frozenset({"site-packages", "dist-packages"})
_OURS = str(Path(__file__).resolve().parents[1])  # tmrepro itself: its version is part of every key
_STANDARD = tuple(
    {str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib") if sysconfig.get_path(name)}
)


@dataclass(frozen=True)
class Source:
    """A module, loaded or not: the path of its file, the package of its relative imports, and its loader."""

    module: str
    kind: Kind
    path: str | None = None
    package: str = ""
    loader: Any = None
    locations: tuple[str, ...] | None = None

    @property
    def top(self) -> str:
        """The first part of the dotted name."""
        return self.module.partition(".")[0]

    @property
    def root(self) -> Path:
        """The folder from which Python imports it."""
        depth = self.module.count(".") + (1 if self.locations is not None else 0)
        parents = Path(self.path or "").parents
        return parents[min(depth, len(parents) - 1)]

    @property
    def name(self) -> str:
        """The name of its file, relative to `root`; the same on every machine."""
        parts = self.module.split(".") if self.locations is not None else self.module.split(".")[:-1]
        return "/".join([*parts, Path(self.path or self.module).name])


def sources_of(name: str) -> list[Source]:
    """Return the user's modules that importing `name` loads: its parents, then itself; or the installed package that has it.

    The list is empty if `name` is Python's own or cannot be found. The last part of `name` may be an attribute.
    """
    found: list[Source] = []
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        source = find_source(".".join(parts[:end]), parent=found[-1] if found else None)
        if source is None or source.kind == "python":
            break
        found.append(source)
        if source.kind == "installed" or source.locations is None:
            break
    return found


def find_source(name: str, *, parent: Source | None = None) -> Source | None:
    """Return the module `name` as it is loaded, or else as Python would find it; None if there is none."""
    module = sys.modules.get(name)
    if module is not None:
        spec = getattr(module, "__spec__", None)
        path = getattr(module, "__file__", None) or getattr(spec, "origin", None)
        locations = getattr(module, "__path__", None)
        package = getattr(module, "__package__", None) or ""
        return _source(name, spec, path=path, package=package, locations=locations)
    spec = _find_spec(name, None if parent is None else list(parent.locations or ()))
    if spec is None:
        return None
    return _source(name, spec, path=spec.origin, package=spec.parent or "", locations=spec.submodule_search_locations)


def kind_of_file(path: str) -> Kind:
    """Return whether a file belongs to the user, to an installed package, or to Python or tmrepro."""
    where = Path(path).resolve()
    if where.is_relative_to(_OURS):
        return "python"
    if not SITES.isdisjoint(where.parts):
        return "installed"
    return "python" if any(where.is_relative_to(folder) for folder in _STANDARD) else "user"


def distributions_of(source: Source) -> dict[str, str]:
    """Return name and version of a module's distribution; of several with its top-level name, those with its file."""
    found = list(_beside(source)) or _named(source)
    if len(found) > 1 and source.path is not None:
        found = [one for one in found if _has_file(one, source)] or found
    return {str(one.metadata["Name"]): str(one.version) for one in found}


def _source(name: str, spec: ModuleSpec | None, *, path: Any, package: str, locations: Any) -> Source:
    loader = getattr(spec, "loader", None)
    places = None if locations is None else tuple(str(place) for place in locations)
    if path in {"built-in", "frozen"} or name in sys.builtin_module_names:
        return Source(name, "python")
    if not isinstance(path, str):
        return Source(name, "namespace" if places is not None else "unreadable", None, package, loader, places)
    source = Source(name, kind_of_file(path), path, package, loader, places)
    if source.kind == "user" and any(_has_file(one, source) for one in _beside(source)):
        return Source(name, "installed", path, package, loader, places)  # pip install --target
    if source.kind == "installed" and not distributions_of(source):
        return Source(name, "user", path, package, loader, places)  # put there by hand
    return source


def _find_spec(name: str, locations: list[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, locations, None)
        except (ImportError, AttributeError, TypeError, ValueError, OSError):
            continue
        if spec is not None:
            return spec
    return None


def _beside(source: Source) -> list[Any]:
    """Return the distributions that name the module, and whose metadata are in its `root`."""
    if source.path is None or source.kind == "installed":
        return []
    try:
        return [one for one in metadata.distributions(path=[str(source.root)]) if source.top in _tops(one)]
    except OSError:
        return []


def _named(source: Source) -> list[Any]:
    if source.kind != "installed":
        return []
    try:
        quick = metadata.distribution(source.top)
        if source.top in (quick.read_text("top_level.txt") or "").split():
            return [quick]
    except (metadata.PackageNotFoundError, ValueError):
        pass
    names = dict.fromkeys(_by_top_name(tuple(sys.path)).get(source.top, ()))
    return [metadata.distribution(name) for name in names]


def _tops(distribution: Any) -> set[str]:
    listed = (distribution.read_text("top_level.txt") or "").split()
    return set(listed) or {file.parts[0].removesuffix(".py") for file in distribution.files or ()}


def _has_file(distribution: Any, source: Source) -> bool:
    return any(file.as_posix() == source.name for file in distribution.files or ())


@lru_cache(maxsize=8)
def _by_top_name(path: tuple[str, ...]) -> dict[str, list[str]]:  # noqa: ARG001 - the result depends on it
    """Return top-level names of modules -> distributions. This takes a second, so the result is cached."""
    return dict(metadata.packages_distributions())
