"""What every command does first: where data and code of a spec are, and the settings that torch needs."""

from __future__ import annotations

from pathlib import Path

from tmrepro.api.isolation.factories import require_importable
from tmrepro.errors import LoadedTooEarlyError
from tmrepro.numerics.determinism import Determinism, prepare
from tmrepro.spec import CustomDataSpec, CustomModel, Spec
from tmrepro.spec.user_paths import user_path

DEFAULT_RUNS = Path("runs")


def prepare_for(spec: Spec) -> Determinism:
    """Set the environment of this process for the determinism level and threads of `spec`.

    Raises:
        LoadedTooEarlyError: torch is already imported with other settings, and the level is `portable`.
        UsageError: the same, and a new process could not import a factory of the spec.
    """
    determinism = Determinism(spec.compute.determinism, spec.compute.threads)
    try:
        prepare(determinism)
    except LoadedTooEarlyError:
        require_importable(spec)
        raise
    return determinism


def data_place(spec: Spec, *, home: Path, given: Path | str | None) -> Path | None:
    """Return the folder of a spec's data: `given`, or that of the spec relative to `home`. Imports torch."""
    from tmrepro.data import place_of

    return place_of(spec.data, data_dir=user_path(given) if given is not None else None, home=home)


def code_folder(spec: Spec, path: Path | None) -> Path | None:
    """Return the folder of the spec file `path` if the spec names a factory; else None."""
    named = isinstance(spec.data, CustomDataSpec) or any(isinstance(model, CustomModel) for model in spec.models)
    return path.parent if path is not None and named else None
