"""Checks whether data and code are those of a finished run, before tmrepro reports that there is nothing to do.

An unfinished run recomputes what is out of date. A finished run is not overwritten: changed data or code are an error, as
another spec is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from tmrepro.data import DATA_DIR_VARIABLE, is_at_hand, load_dataset
from tmrepro.errors import ArtefactError, DamagedError, DataError, UsageError
from tmrepro.networks import code_changes
from tmrepro.records import Signature
from tmrepro.runner.models import data_inputs
from tmrepro.spec import CustomDataSpec, CustomModel, Spec, expand_models
from tmrepro.store.atomic import read_bytes, safe_path
from tmrepro.store.documents import JSON_LIMIT_BYTES, read_json
from tmrepro.store.manifest import listed_hash
from tmrepro.store.run_files import MANIFEST, PROVENANCE
from tmrepro.store.signatures import recorded_signature
from tmrepro.store.stages import StageRecord, first_changed_input, recorded_code, recorded_data_code, stages_in
from tmrepro.usercode import CodeRecord, changes_since
from tmrepro.usercode import is_at_hand as code_is_at_hand

# Their versions belong to the platform. A finished run may have been computed on another platform.
_PLATFORM = frozenset({"torch", "numpy"})


def require_unchanged(out: Path, spec: Spec, *, data_dir: Path | None, download: bool) -> tuple[str, ...]:
    """Check that the data and code of the finished run in `out` are unchanged. Nothing is written.

    Returns:
        Notes on what could not be checked because it is not available.

    Raises:
        UsageError: the data or the code have changed.
        DataError: the given folder has no such data.
        DamagedError: the records of the run are damaged.
    """
    provenance = read_json(safe_path(out, PROVENANCE), name=PROVENANCE)
    stages, notes = stages_in(provenance), list[str]()
    # The networks have the shapes of the data. If the data are not available, the shapes come from the run's record.
    signature = recorded_signature(provenance, spec)
    notes += _check_data(out, spec, stages, data_dir=data_dir, download=download)
    notes += _check_code(out, spec, stages, signature=signature)
    return tuple(notes)


def tells_of_its_stages(out: Path) -> bool:
    """Return whether `out` was finished and its provenance.json is unchanged. Other files may be damaged."""
    if not os.path.lexists(out / MANIFEST):
        return False
    try:
        content = read_bytes(safe_path(out, PROVENANCE), limit_bytes=JSON_LIMIT_BYTES, name=PROVENANCE)
    except ArtefactError:
        return False
    return listed_hash(out, PROVENANCE) == sha256(content).hexdigest()


def _check_data(
    out: Path, spec: Spec, stages: Sequence[StageRecord], *, data_dir: Path | None, download: bool
) -> list[str]:
    if not is_at_hand(spec.data, data_dir=data_dir):
        if isinstance(spec.data, CustomDataSpec):
            return [f"the data were not checked: {spec.data.factory} was not found; put its folder on PYTHONPATH"]
        return [f"the data were not checked: give their folder with --data-dir or {DATA_DIR_VARIABLE}"]
    try:
        if isinstance(spec.data, CustomDataSpec):
            _check_code_of_data(out, spec.data, stages)
        dataset = load_dataset(spec.data, data_dir=data_dir)
    except DataError as error:
        if not download:
            raise
        return [f"the data were not checked, and for a finished run they are not downloaded: {error}"]
    now = data_inputs(spec, fingerprint=dataset.fingerprint, code=None)
    for stage in stages:
        if stage.name.startswith("training/"):
            recorded = stage.inputs.get("data") if isinstance(stage.inputs, dict) else None
            recorded = (
                {name: value for name, value in recorded.items() if name != "code"}
                if isinstance(recorded, dict)
                else None
            )
            found = first_changed_input(now, recorded, "data")
            if found is not None:
                raise _other(out, f"on other data ({found})", "name the folder of its data with --data-dir")
    return []


def _check_code_of_data(out: Path, data: CustomDataSpec, stages: Sequence[StageRecord]) -> None:
    changes = changes_since(
        recorded_data_code(stages), factory=data.factory, find=lambda: load_dataset(data).code or CodeRecord({}, {})
    )
    versions = [words for name, words in changes.versions if name not in _PLATFORM]
    if changes.files or versions:
        told = "; ".join([*changes.files, *versions])
        raise _other(out, f"with other code of its data: {told}", "restore the code of the run")


def _check_code(out: Path, spec: Spec, stages: Sequence[StageRecord], *, signature: Signature) -> list[str]:
    recorded, notes = recorded_code(stages), []
    for model in spec.models:
        if not isinstance(model, CustomModel):
            continue
        if not code_is_at_hand(model.factory):
            notes.append(
                f"the code of {model.name} was not checked: {model.factory} was not found; put its folder on PYTHONPATH"
            )
            continue
        trained = [trained.name for trained in expand_models(spec) if trained.base == model.name]
        records = [recorded[name] for name in trained if name in recorded]
        if not records:
            raise DamagedError(
                f"{PROVENANCE}: expected the code that {model.name} was trained with, found no record of it"
            )
        for number, record in enumerate(records):
            if record in records[:number]:
                continue  # replicates share the code
            changes = code_changes(model, record, signature=signature)
            versions = [words for name, words in changes.versions if name not in _PLATFORM]
            if changes.files or versions:
                told = "; ".join([*changes.files, *versions])
                raise _other(out, f"with other code of {model.name}: {told}", "restore the code of the run")
    return notes


def _other(out: Path, what: str, remedy: str) -> UsageError:
    return UsageError(
        f"{out} holds a finished run {what}. It is not recomputed silently: {remedy}, or choose another --out; with --reuse "
        f"{out} it reuses what is still valid"
    )
