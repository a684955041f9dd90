"""The commands as Python functions: `tmrepro.run`, `tmrepro.verify` and others.

    runs             `tmrepro run`
    verdicts         `tmrepro verify`
    references       `tmrepro reference build`, `tmrepro verify --update`
    curvature        `tmrepro curvature`
    preparation      the first steps of all of them; targets: their arguments
    isolation/       runs them in a separate process if torch was loaded too early
    reproduction     `tmrepro reproduce`
    regenerate       `tmrepro figures`, `report` and `stats`: the output of a finished run, regenerated
    starter          `tmrepro new`
    doctor           `tmrepro doctor`
    benchmark        `tmrepro bench`

A name imports its module when it is first used: NumPy and torch may be imported only after determinism is set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tmrepro.api.curvature import measure_curvature
    from tmrepro.api.references import build_reference, update_reference
    from tmrepro.api.runs import run
    from tmrepro.api.verdicts import verify

__all__ = ["build_reference", "measure_curvature", "run", "update_reference", "verify"]

_HOMES = {
    "build_reference": "references",
    "measure_curvature": "curvature",
    "run": "runs",
    "update_reference": "references",
    "verify": "verdicts",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"tmrepro.api.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tmrepro.api' has no attribute {name!r}")
