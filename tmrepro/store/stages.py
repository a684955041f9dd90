"""Stages: which parts of a run are done, their inputs, and why a part runs again.

The key of a stage is the hash of its `inputs`. A stage is done if its files exist with the recorded hashes. The records
are in RUN/.work/stages during a run, and in provenance.json of a finished run, so that another run can reuse a stage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from tmrepro.errors import ArtefactError, DamagedError
from tmrepro.store.atomic import WORK, remove, safe_path, shown, work_folder
from tmrepro.store.documents import read_json, write_json
from tmrepro.store.manifest import file_hashes
from tmrepro.store.run_files import PROVENANCE
from tmrepro.usercode import CodeRecord, code_from


@dataclass(frozen=True)
class StageRecord:
    """One stage: its name ("training/dnn"), inputs and their key, the SHA-256 of each file, facts, and how it ran.

    `complete` is False while a stage with many files (a surface's chunks) is in progress.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    key: str
    inputs: dict[str, Any]
    files: dict[str, str]
    facts: dict[str, Any]
    seconds: float
    reason: str
    complete: bool = True


_RECORD = TypeAdapter(StageRecord)


def stage_key(inputs: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the inputs as JSON with sorted keys."""
    text = json.dumps(inputs, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class StageBook:
    """The stage records of one run folder."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._folder = run / WORK / "stages"
        self._records: dict[str, StageRecord] = {}
        for path in sorted(self._folder.glob("*.json")) if self._folder.is_dir() else ():
            try:
                record = record_from(read_json(safe_path(run, f"{WORK}/stages/{path.name}")))
            except ArtefactError:
                continue  # a stage whose record cannot be read is not done
            self._records[record.name] = record

    def get(self, name: str) -> StageRecord | None:
        """Return the record of a stage, complete or not."""
        return self._records.get(name)

    def put(self, record: StageRecord) -> None:
        """Store a record durably."""
        path = self._folder / f"{record.name.replace('/', '+')}.json"
        write_json(path, asdict(record), work=work_folder(self._run))
        self._records[record.name] = record

    def drop(self, names: Iterable[str]) -> None:
        """Remove the records of stages."""
        for name in names:
            remove(self._folder / f"{name.replace('/', '+')}.json")
            self._records.pop(name, None)

    def records(self) -> list[StageRecord]:
        """Return all records, sorted by name."""
        return [self._records[name] for name in sorted(self._records)]


def record_from(document: Any) -> StageRecord:
    """Return a record from its JSON form.

    Raises:
        DamagedError: it is not a record.
    """
    try:
        record = _RECORD.validate_json(json.dumps(document), strict=True)
        key = stage_key(record.inputs)
    except (ValidationError, TypeError, ValueError) as error:
        raise DamagedError(shown(f"not a stage record: {_short(document)}")) from error
    if record.key != key:
        raise DamagedError(shown(f"the record of stage {_short(record.name)} is inconsistent"))
    return record


def recorded_stages(run: Path) -> list[StageRecord]:
    """Return the stages of another run folder, finished (provenance.json) or not (.work/stages).

    Raises:
        DamagedError: the folder has neither.
    """
    return StageBook(run).records() if (run / WORK / "stages").is_dir() else finished_stages(run)


def finished_stages(run: Path) -> list[StageRecord]:
    """Return the stages in the provenance.json of a finished run.

    Raises:
        DamagedError: the file is missing, or has no stages.
    """
    return stages_in(read_json(safe_path(run, PROVENANCE), name=PROVENANCE))


def stages_in(provenance: Any) -> list[StageRecord]:
    """Return the stages in a provenance document.

    Raises:
        DamagedError: it has no stages.
    """
    stages = provenance.get("stages") if isinstance(provenance, Mapping) else None
    if not isinstance(stages, dict):
        raise DamagedError("provenance.json: expected the stages of a run, found none")
    return [record_from(stage) for stage in stages.values()]


def recorded_code(stages: Iterable[StageRecord]) -> dict[str, CodeRecord]:
    """Return the user's code that each custom model was trained with, by the name of the trained model.

    Raises:
        DamagedError: the record of a training is missing or invalid.
    """
    found = {}
    for stage in stages:
        kind, _, name = stage.name.partition("/")
        model = stage.inputs.get("model") if isinstance(stage.inputs, dict) else None
        if kind == "training" and isinstance(model, dict) and model.get("kind") == "custom":
            found[name] = code_from(model.get("code"), name=shown(f"the record of stage {_short(stage.name)}: code"))
    return found


def recorded_data_code(stages: Iterable[StageRecord]) -> CodeRecord:
    """Return the code of the factory that made the data of a run.

    Raises:
        DamagedError: the record is missing or invalid.
    """
    for stage in stages:
        data = stage.inputs.get("data") if isinstance(stage.inputs, dict) else None
        if stage.name.startswith("training/") and isinstance(data, dict):
            return code_from(
                data.get("code"), name=shown(f"the record of stage {_short(stage.name)}: code of the data")
            )
    raise DamagedError("provenance.json: expected a record of the code of the data, found none")


def damaged_files(run: Path, record: StageRecord) -> list[str]:
    """Return the files of a stage that are missing or differ from the record."""
    wrong = []
    for relative, expected in record.files.items():
        try:
            found = file_hashes(run, [relative])[relative]
        except ArtefactError:
            found = ""
        if found != expected:
            wrong.append(relative)
    return wrong


def first_changed_input(new: Any, old: Any, path: str = "") -> str | None:
    """Describe the first difference between the inputs of two stages; None if they are equal."""
    if isinstance(new, dict) and isinstance(old, dict):
        for name in sorted(set(new) | set(old)):
            inner = f"{path}.{name}" if path else name
            if name not in old or name not in new:
                return shown(f"{inner} is {'new' if name in new else 'removed'}")
            found = first_changed_input(new[name], old[name], inner)
            if found:
                return found
        return None
    if json.dumps(new) == json.dumps(old):
        return None
    return shown(f"{path}: {_short(new)} here, {_short(old)} there")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:16]}…"
