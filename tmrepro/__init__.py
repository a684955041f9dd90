"""tmrepro: loss landscapes around true minima, computed from a spec and verified byte by byte.

    import tmrepro

    result = tmrepro.run("spec/quickstart.yaml")
    view = tmrepro.open_run(result.run)
    view.surface("paper", "dnn").loss
    tmrepro.loss_surface(model, "cross_entropy", inputs, targets)

A name imports its module when it is first used, because determinism must be set before torch is imported.
"""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tmrepro.api import run, verify
    from tmrepro.landscape import Trajectory, directions_toward, loss_line, loss_surface, pca_directions
    from tmrepro.landscape.curvature.asked import curvature_of, hessian_directions
    from tmrepro.reporting.datasets import plot_surface, surface_statistics
    from tmrepro.reporting.progress import Silent
    from tmrepro.runner.view import open_run
    from tmrepro.spec import load_spec

    __version__: str

__all__ = [
    "Silent",
    "Trajectory",
    "curvature_of",
    "directions_toward",
    "hessian_directions",
    "load_spec",
    "loss_line",
    "loss_surface",
    "open_run",
    "pca_directions",
    "plot_surface",
    "run",
    "surface_statistics",
    "verify",
]

_HOMES = {
    "Silent": "tmrepro.reporting.progress",
    "Trajectory": "tmrepro.landscape",
    "curvature_of": "tmrepro.landscape.curvature.asked",
    "directions_toward": "tmrepro.landscape",
    "hessian_directions": "tmrepro.landscape.curvature.asked",
    "load_spec": "tmrepro.spec",
    "loss_line": "tmrepro.landscape",
    "loss_surface": "tmrepro.landscape",
    "open_run": "tmrepro.runner.view",
    "pca_directions": "tmrepro.landscape",
    "plot_surface": "tmrepro.reporting.datasets",
    "run": "tmrepro.api",
    "surface_statistics": "tmrepro.reporting.datasets",
    "verify": "tmrepro.api",
}


# Modules of the last release that users import, by their new names.
_MOVED = {"tmrepro.progress": "tmrepro.reporting.progress", "tmrepro.view": "tmrepro.runner.view"}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("tmrepro")
    if name in _HOMES:
        import importlib

        from tmrepro.spec.user_paths import require_working_folder

        require_working_folder()  # before torch loads, which ends the process without it
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tmrepro' has no attribute {name!r}")


class _MovedModules(MetaPathFinder, Loader):
    """Finds a module by the name it had in the last release. It holds the names of the module as it is called now."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        return ModuleSpec(fullname, self) if fullname in _MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        import importlib
        import warnings

        new = _MOVED[module.__name__]
        said = f"{module.__name__} is now {new}; the old name will be removed in the next release"
        warnings.warn(said, DeprecationWarning, stacklevel=2)
        found = vars(importlib.import_module(new))
        vars(module).update({name: value for name, value in found.items() if not name.startswith("__")})


sys.meta_path.append(_MovedModules())


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
