"""Determines the kind of a folder from its files: a run, a reference, or a surface kept by `tmrepro.loss_surface`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from tmrepro.errors import UsageError
from tmrepro.store.kept_surfaces import GROUP, QUESTION
from tmrepro.store.manifest import listed_hash
from tmrepro.store.run_files import BANDS, SPEC, STORE
from tmrepro.verification.verdict import Level

Kind = Literal["run", "reference", "surface"]

_WHY_NOT = {
    "reference": "is a reference without weights, so only levels integrity and statistics are possible: "
    "omit --level, or run its spec again with 'tmrepro verify {folder}/spec.yaml --reference {folder}'",
    "surface": "is a surface kept by tmrepro.loss_surface, without network, data and spec: omit --level; "
    "to recompute it, make the same call with another out=",
}


def kind_of(folder: Path) -> Kind:
    """Return the kind of `folder`. One missing file does not change it, because the manifest or the surface still shows it."""
    if os.path.lexists(folder / BANDS):
        return "reference"
    if os.path.lexists(folder / SPEC):
        has_weights = any(folder.glob("models/*/theta.safetensors"))
        return "reference" if not has_weights and listed_hash(folder, BANDS) is not None else "run"
    if os.path.lexists(folder / QUESTION) or (folder / STORE / GROUP).is_dir():
        return "surface"
    return "run"


def default_level(kind: Kind) -> Level:
    """Return the default level for a kind of folder."""
    return "audit" if kind == "run" else "statistics"


def refuse_level(folder: Path, kind: Kind, level: Level) -> None:
    """Raise UsageError unless a folder of this kind can be verified at this level.

    Raises:
        UsageError: the folder lacks the files for that level.
    """
    if kind != "run" and level in {"audit", "rerun"}:
        raise UsageError(f"level {level}: {folder} {_WHY_NOT[kind].format(folder=folder)}")
