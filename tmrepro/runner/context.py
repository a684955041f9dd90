"""What the stages of a run share, and how one stage is computed, continued, reused, or copied from another run."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from tmrepro.data import Dataset, network_inputs
from tmrepro.errors import ComputeError, DamagedError, TmreproError
from tmrepro.reporting.progress import Reporter
from tmrepro.runner.cluster import Engine
from tmrepro.runner.workspace import Workspace
from tmrepro.spec.limits import FILE_BYTES
from tmrepro.store.atomic import read_bytes, remove, safe_path, work_folder, write_bytes
from tmrepro.store.manifest import file_hashes
from tmrepro.store.stages import (
    StageBook,
    StageRecord,
    damaged_files,
    first_changed_input,
    recorded_stages,
    stage_key,
)
from tmrepro.training import Examples
from tmrepro.usercode import CodeRecord


@dataclass(frozen=True, kw_only=True)
class Context(Workspace):
    """A run in its folder.

    `platform` is the part of every stage's inputs that is not in the spec. `code` is the user's code, by the names of the
    custom models. `home` is the folder of the spec file. If there are `failures`, the run ends without a manifest.
    """

    book: StageBook
    reporter: Reporter
    engine: Engine
    platform: dict[str, Any]
    code: Mapping[str, CodeRecord] = field(default_factory=dict)
    preview: bool = False
    donors: Sequence[Donor] = ()
    home: Path | None = None
    failures: list[ComputeError] = field(default_factory=list)

    @property
    def work(self) -> Path:
        """The folder of temporary files."""
        return work_folder(self.run)


def examples_on(dataset: Dataset, *, scaling: Literal["standardize", "unit"] | None, device: torch.device) -> Examples:
    """Return both parts of the data on `device`, in the form that networks take."""
    return Examples(
        inputs=network_inputs(dataset, dataset.train, scaling=scaling, device=device),
        labels=torch.from_numpy(dataset.train.labels).to(device),
        validation_inputs=network_inputs(dataset, dataset.validation, scaling=scaling, device=device),
        validation_labels=torch.from_numpy(dataset.validation.labels).to(device),
        classes=len(dataset.classes),
    )


class Donor:
    """A folder named by --reuse, and the stages in it.

    Raises:
        DamagedError: the folder has no run, or the records of its stages are damaged.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        try:
            self.stages = recorded_stages(run)
        except DamagedError as error:
            raise DamagedError(f"--reuse {run}: no run with stages to reuse: {error}") from error

    def find(self, name: str, key: str) -> StageRecord | None:
        """Return a complete stage of the same kind with the same key. The name of its model or surface may differ."""
        kind = name.partition("/")[0]
        same = [stage for stage in self.stages if stage.key == key and stage.name.partition("/")[0] == kind]
        return next((stage for stage in same if stage.complete), None)

    def has(self, name: str) -> bool:
        """Return whether there is a stage called `name`, with any key."""
        return any(stage.name == name for stage in self.stages)

    def refusal(self, name: str, inputs: dict[str, Any]) -> str:
        """Return why no stage of the folder can be used for `name`."""
        namesake = next((stage for stage in self.stages if stage.name == name), None)
        if namesake is None:
            return f"{self.run} has no such stage"
        difference = first_changed_input(inputs, namesake.inputs)
        if difference is None:
            return f"the one in {self.run} is {'damaged' if namesake.complete else 'incomplete'}"
        return f"{self.run} has another one: {difference}"


def run_stage(
    context: Context,
    name: str,
    *,
    inputs: dict[str, Any],
    folder: str,
    compute: Callable[[], tuple[Sequence[str], dict[str, Any]]],
    may_continue: bool = False,
) -> StageRecord:
    """Return the record of stage `name`, whose files are under `folder`. Compute the stage if needed.

    `compute` returns the files it made and the facts to record. With `may_continue`, an incomplete record is stored first,
    so that an interrupted stage of many files can recognise its own files.
    """
    key = stage_key(inputs)
    earlier = context.book.get(name)
    same = earlier is not None and earlier.key == key
    damaged = damaged_files(context.run, earlier) if earlier is not None and same and earlier.complete else []
    if earlier is not None and same and earlier.complete and not damaged:
        context.reporter.stage(name, "done", "same inputs, files whole")
        return earlier
    for relative in damaged:  # otherwise a chunk forged with its own checksum would count as valid
        remove(safe_path(context.run, relative))
    reason = _reason(earlier, inputs=inputs, same=same, damaged=damaged)
    record = _take_over(context, name, key=key, inputs=inputs, folder=folder)
    if record is None:
        reason = "; ".join([reason, *_refusals(context, name, inputs)])
        continued = earlier if may_continue and same else None
        context.reporter.stage(name, "runs" if continued is None else "continues", reason)
        if may_continue and continued is None:
            context.book.put(StageRecord(name, key, inputs, {}, {}, 0.0, reason, complete=False))
        begin = time.monotonic()
        files, facts = compute()
        seconds = time.monotonic() - begin + (continued.seconds if continued else 0.0)
        record = StageRecord(name, key, inputs, file_hashes(context.run, list(files)), facts, seconds, reason)
    for stale in sorted(set(earlier.files) - set(record.files)) if earlier is not None else ():
        remove(safe_path(context.run, stale))
    context.book.put(record)
    context.reporter.ended(name)
    return record


@contextmanager
def computing(what: str, *, users_code: str | None = None) -> Iterator[None]:
    """Turn failures of the machine, and of `users_code` (the factory of a custom model), into errors with a clear message.

    Raises:
        ComputeError: out of memory, the device was lost, or the user's own network failed.
    """
    try:
        yield
    except (TmreproError, OSError):
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ComputeError(f"{what}: out of memory; use fewer --workers, or smaller data or models") from error
    except Exception as error:
        text = str(error) if isinstance(error, RuntimeError) else ""
        if "can't allocate memory" in text or "not enough memory" in text:
            raise ComputeError(f"{what}: out of memory; use fewer --workers, or smaller data or models") from error
        if "CUDA error" in text or "device-side" in text:
            raise ComputeError(
                f"{what}: the device was lost ({text.splitlines()[0]}); the same command continues"
            ) from error
        if users_code is None:
            raise
        raise ComputeError(
            f"{what}: the network of {users_code} failed: {type(error).__name__}: {error}; --debug shows where"
        ) from error


def _reason(earlier: StageRecord | None, *, inputs: dict[str, Any], same: bool, damaged: list[str]) -> str:
    """Return why a stage is not done."""
    if earlier is None:
        return "not there yet"
    if not same:
        return f"inputs changed: {first_changed_input(inputs, earlier.inputs)}"
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        return f"{damaged[0]}{more} missing or damaged"
    return "was interrupted"


def _take_over(context: Context, name: str, *, key: str, inputs: dict[str, Any], folder: str) -> StageRecord | None:
    """Return the record of a stage whose files were copied from a donor, or None."""
    for donor in context.donors:
        old = donor.find(name, key)
        if old is None:
            continue
        try:
            files = _copy(context, donor.run, old, folder=folder)
        except DamagedError as error:
            context.reporter.note(f"{name} is not reused from {donor.run}: {error}")
            continue
        reason = f"same inputs as {old.name} in {donor.run}, bytes checked"
        context.reporter.stage(name, "reused", reason)
        return StageRecord(name, key, inputs, files, {**old.facts, "folder": folder}, old.seconds, reason)
    return None


def _refusals(context: Context, name: str, inputs: dict[str, Any]) -> list[str]:
    """Return why no folder named by --reuse has stage `name`. Of several folders, only those with a stage of that name count."""
    donors = context.donors if len(context.donors) == 1 else [donor for donor in context.donors if donor.has(name)]
    if context.donors and not donors:
        return ["no folder named by --reuse has such a stage"]
    return [donor.refusal(name, inputs) for donor in donors]


def _copy(context: Context, donor: Path, old: StageRecord, *, folder: str) -> dict[str, str]:
    """Copy the files of a stage to their place under `folder`. Copy none unless all have the recorded checksums."""
    wrong = damaged_files(donor, old)
    if wrong:
        raise DamagedError(f"{wrong[0]} is missing or damaged there")
    files = {}
    for relative, digest in old.files.items():
        target = _moved(relative, old.facts.get("folder", folder), folder)
        data = read_bytes(safe_path(donor, relative), limit_bytes=FILE_BYTES, name=relative)
        if hashlib.sha256(data).hexdigest() != digest:
            raise DamagedError(f"{relative} was changed while it was read")
        write_bytes(safe_path(context.run, target), data, work=context.work)
        files[target] = digest
    return files


def _moved(relative: str, old_folder: object, folder: str) -> str:
    """Return the new place of a file of the donor's stage. The file must be under that stage's folder."""
    if not isinstance(old_folder, str) or not relative.startswith(f"{old_folder}/"):
        raise DamagedError(f"{relative} is not a file of that stage")
    return f"{folder}/{relative.removeprefix(f'{old_folder}/')}"
