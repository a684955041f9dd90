"""What every command does first: where data and code of a spec are, and the settings that torch needs."""

from __future__ import annotations

from pathlib import Path

from tmrepro.api.isolation.factories import require_importable
from tmrepro.errors import LoadedTooEarlyError, UsageError
from tmrepro.numerics.determinism import Determinism, prepare
from tmrepro.runner.cluster import Link
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


def require_one_way(workers: int, link: Link | None) -> None:
    """Raise UsageError if the number of workers is invalid, or a scheduler is named as well."""
    if workers < 1:
        raise UsageError(f"workers must be at least 1 (got {workers})")
    if link is not None and workers > 1:
        raise UsageError("--workers starts processes here, --scheduler names those of a scheduler: choose one of them")


def link_of(scheduler: str | None, file: Path | str | None, *certificates: Path | str | None) -> Link | None:
    """Return the scheduler that the arguments name, or None."""
    if scheduler is None and file is None:
        return None
    ca, cert, key = (None if path is None else user_path(path) for path in certificates)
    return Link(scheduler, None if file is None else user_path(file), ca, cert, key)
