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
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tmrepro.api import run, verify
    from tmrepro.curvature.asked import curvature_of, hessian_directions
    from tmrepro.datasets import plot_surface, surface_statistics
    from tmrepro.landscape import Trajectory, directions_toward, loss_line, loss_surface, pca_directions
    from tmrepro.spec import load_spec
    from tmrepro.view import open_run

    __version__: str

__all__ = [
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
    "Trajectory": "tmrepro.landscape",
    "curvature_of": "tmrepro.curvature.asked",
    "directions_toward": "tmrepro.landscape",
    "hessian_directions": "tmrepro.curvature.asked",
    "load_spec": "tmrepro.spec",
    "loss_line": "tmrepro.landscape",
    "loss_surface": "tmrepro.landscape",
    "open_run": "tmrepro.view",
    "pca_directions": "tmrepro.landscape",
    "plot_surface": "tmrepro.datasets",
    "run": "tmrepro.api",
    "surface_statistics": "tmrepro.datasets",
    "verify": "tmrepro.api",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("tmrepro")
    if name in _HOMES:
        import importlib

        from tmrepro.paths import require_working_folder

        require_working_folder()  # before torch loads, which ends the process without it
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tmrepro' has no attribute {name!r}")


class _Package(ModuleType):
    """Keeps `tmrepro.verify` a function. Importing from the package of that name would replace it by the package."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name == "verify" and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
