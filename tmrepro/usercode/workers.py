"""Worker processes import the user's code again, from files that may have been changed since: they check them first."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tmrepro.errors import ComputeError
from tmrepro.usercode.closure import close


@dataclass(frozen=True)
class LoadedCode:
    """The user's modules that this process has loaded: name of the module, of its file, path, and SHA-256 of what was loaded."""

    modules: tuple[tuple[str, str, str, str], ...]

    def require(self) -> None:
        """Load the same modules here, and check their files.

        Raises:
            ComputeError: one of them was changed.
        """
        for module, name, path, digest in self.modules:
            if module != "__main__":
                with suppress(ImportError):  # whoever needs it says so
                    importlib.import_module(module)  # what is imported late would be read late
            if _digest(path) != digest:
                raise ComputeError(
                    f"code: {name} was changed while the run was under way, and worker processes would compute with another "
                    "version; put it back as it was, or start the run again with the new one"
                )


def loaded_code(objects: Iterable[object]) -> LoadedCode:
    """The user's code behind the classes of `objects`, as this process has loaded it.

    Raises:
        UsageError: one of its files was changed since it was loaded.
    """
    names = sorted({kind.__module__ for thing in objects for kind in type(thing).__mro__})
    found = close(names, readable=False).modules
    return LoadedCode(
        tuple(
            (module, source.name, source.path, digest)
            for module, (source, digest) in sorted(found.items())
            if module in sys.modules and source.path is not None and Path(source.path).is_file()
        )
    )


def _digest(path: str) -> str | None:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None
