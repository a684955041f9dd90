"""What `tmrepro verify` and `reference update` are given: a folder of some kind or a spec, and the reference for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from tmrepro.errors import ArtefactError, UsageError
from tmrepro.spec import Spec, load_spec
from tmrepro.spec.shipped import own_reference, reference_folder, shipped_reference
from tmrepro.spec.user_paths import user_path

if TYPE_CHECKING:
    from tmrepro.verification.folders import Kind
    from tmrepro.verification.verdict import Remarks

Level = Literal["integrity", "statistics", "audit", "rerun"]


def level_for(level: str | None, target: Path) -> Level:
    """Return the level to verify `target` at: `level`, or the default of what `target` is.

    Raises:
        ArtefactError: nothing is at `target`.
        UsageError: no such level, or `target` cannot be verified at it.
    """
    if not target.exists():
        raise ArtefactError(f"{target}: nothing is there; give a run folder or a spec")
    kind = kind_of_target(target)
    from tmrepro.verification import default_level, refuse_level

    if level is None:
        return "rerun" if kind is None else default_level(kind)
    if level not in get_args(Level):
        raise UsageError(f"level {level!r}: choose one of {', '.join(get_args(Level))}")
    if kind is not None:
        refuse_level(target, kind, cast("Level", level))
    if not target.is_dir() and level != "rerun":
        raise UsageError(f"{target} is a spec, which has no bytes to check: level {level} needs a run folder")
    return cast("Level", level)


def kind_of_target(target: Path) -> Kind | None:
    """Return the kind of a folder; None for a spec."""
    from tmrepro.verification import kind_of

    return kind_of(target) if target.is_dir() else None


def spec_of(target: Path) -> Spec | None:
    """Return the spec of `target`; None if that of a run is damaged, which level integrity reports."""
    if not target.is_dir():
        return load_spec(target)
    from tmrepro.store.specs import read_spec

    try:
        return read_spec(target)
    except ArtefactError:
        return None


def reference_for(target: Path, spec: Spec | None, *, given: Path | str | None, needed: bool) -> Path | None:
    """Return the folder of the reference for `target`, which may not exist; None if there is none and none is needed."""
    if given is not None:
        return user_path(given)
    if kind_of_target(target) in {"reference", "surface"}:
        return None
    found = reference_folder(spec.name) if spec is not None else None
    is_needed = needed or not target.is_dir()
    return found if found is not None and (is_needed or found.is_dir()) else None


def say_hidden_reference(spec: Spec | None, folder: Path | None, *, given: Path | str | None) -> Remarks:
    """Return a note that names the reference if a user's own one has the name of a shipped one."""
    from tmrepro.verification.verdict import Remarks

    if given is not None or spec is None or folder != own_reference(spec.name):
        return Remarks()
    shipped = shipped_reference(spec.name)
    hides = f"; the shipped one, {shipped}, was not used" if shipped.is_dir() else ""
    return Remarks(notes=(f"compared with the reference in {folder.resolve()}{hides}",))
