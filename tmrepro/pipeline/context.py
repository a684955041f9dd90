"""What the stages of a run share, and how one stage is run, continued, found done, or taken over from another run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from tmrepro.data import Dataset, scale
from tmrepro.determinism import Determinism
from tmrepro.errors import ComputeError, DamagedError
from tmrepro.progress import Reporter
from tmrepro.spec import Spec
from tmrepro.store.atomic import read_bytes, safe_path, work_folder, write_bytes
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

REUSED_FILE_LIMIT_BYTES = 2**33


@dataclass(frozen=True)
class Context:
    """One run in one folder. `platform` is the part of every stage's inputs that is not in the spec."""

    spec: Spec
    run: Path
    book: StageBook
    reporter: Reporter
    device: torch.device
    determinism: Determinism
    workers: int
    platform: dict[str, Any]
    dataset: Dataset
    examples: Examples
    evaluator: str | None = None
    donor: Donor | None = None
    failures: list[ComputeError] = field(default_factory=list)

    @property
    def work(self) -> Path:
        """Where temporary files go."""
        return work_folder(self.run)


def examples_on(dataset: Dataset, *, scaling: Literal["standardize", "unit"], device: torch.device) -> Examples:
    """Both parts of the data on `device`: uint8 pixels travel there and are scaled there."""

    def inputs(images: Any) -> torch.Tensor:
        pixels = torch.from_numpy(images).to(device)
        return scale(pixels, scaling=scaling, mean=dataset.mean, deviation=dataset.deviation)

    return Examples(
        inputs=inputs(dataset.train.images),
        labels=torch.from_numpy(dataset.train.labels).to(device),
        validation_inputs=inputs(dataset.validation.images),
        validation_labels=torch.from_numpy(dataset.validation.labels).to(device),
        classes=len(dataset.classes),
    )


class Donor:
    """The folder named by --reuse, and the stages in it."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.stages = recorded_stages(run)

    def find(self, name: str, key: str) -> StageRecord | None:
        """A complete stage of the same kind with the same key, whatever its model or surface is called."""
        kind = name.partition("/")[0]
        same = [stage for stage in self.stages if stage.key == key and stage.name.partition("/")[0] == kind]
        return next((stage for stage in same if stage.complete), None)

    def refusal(self, name: str, inputs: dict[str, Any]) -> str:
        """Why no stage of the folder serves `name`."""
        namesake = next((stage for stage in self.stages if stage.name == name), None)
        if namesake is None:
            return f"{self.run} has no such stage"
        return f"{self.run} has another one: {first_changed_input(inputs, namesake.inputs) or 'it is incomplete'}"


def run_stage(
    context: Context,
    name: str,
    *,
    inputs: dict[str, Any],
    folder: str,
    compute: Callable[[], tuple[Sequence[str], dict[str, Any]]],
    may_continue: bool = False,
) -> StageRecord:
    """The record of stage `name`, whose files lie under `folder`, computing it if that is needed.

    `compute` returns the files it made and the facts to record. With `may_continue`, an incomplete record is put first,
    so that an interrupted stage of many files can tell that what it finds is its own.
    """
    key = stage_key(inputs)
    reason, whole = _standing(context, name, key=key, inputs=inputs)
    if whole is not None:
        context.reporter.stage(name, "done", reason)
        return whole
    if context.donor is not None:
        taken = _take_over(context, name, key=key, inputs=inputs, folder=folder)
        if taken is not None:
            return taken
        reason = f"{reason}; {context.donor.refusal(name, inputs)}"
    earlier = context.book.get(name)
    continues = may_continue and earlier is not None and earlier.key == key
    context.reporter.stage(name, "continues" if continues else "runs", reason)
    if may_continue and not continues:
        context.book.put(StageRecord(name, key, inputs, {}, {}, 0.0, reason, complete=False))
    begin = time.monotonic()
    files, facts = compute()
    spent = time.monotonic() - begin + (earlier.seconds if continues and earlier else 0.0)
    record = StageRecord(name, key, inputs, file_hashes(context.run, list(files)), facts, spent, reason)
    context.book.put(record)
    return record


@contextmanager
def computing(what: str) -> Iterator[None]:
    """Turn what a machine can lack into an error that says so.

    Raises:
        ComputeError: out of memory, or the device was lost.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ComputeError(f"{what}: out of memory; use fewer --workers, or smaller data or models") from error
    except RuntimeError as error:
        text = str(error)
        if "can't allocate memory" in text or "not enough memory" in text:
            raise ComputeError(f"{what}: out of memory; use fewer --workers, or smaller data or models") from error
        if "CUDA error" in text or "device-side" in text:
            raise ComputeError(
                f"{what}: the device was lost ({text.splitlines()[0]}); the same command continues"
            ) from error
        raise


def _standing(context: Context, name: str, *, key: str, inputs: dict[str, Any]) -> tuple[str, StageRecord | None]:
    """The reason why a stage runs or not, and its record if it is done and whole."""
    record = context.book.get(name)
    if record is None:
        return "not there yet", None
    if record.key != key:
        return f"depends on something else now: {first_changed_input(inputs, record.inputs)}", None
    if not record.complete:
        return "was interrupted", None
    damaged = damaged_files(context.run, record)
    if damaged:
        return f"{damaged[0]} is missing or damaged", None
    return "same inputs, files whole", record


def _take_over(context: Context, name: str, *, key: str, inputs: dict[str, Any], folder: str) -> StageRecord | None:
    donor = context.donor
    old = donor.find(name, key) if donor else None
    if donor is None or old is None:
        return None
    old_folder = old.facts.get("folder", folder)
    files = {}
    try:
        for relative in old.files:
            data = read_bytes(safe_path(donor.run, relative), limit_bytes=REUSED_FILE_LIMIT_BYTES, name=relative)
            target = relative.replace(old_folder, folder, 1) if relative.startswith(old_folder) else relative
            write_bytes(safe_path(context.run, target), data, work=context.work)
            files[target] = file_hashes(context.run, [target])[target]
        if list(files.values()) != list(old.files.values()):
            context.reporter.note(f"{name} is not taken over from {donor.run}: its files are not what was recorded")
            return None
    except DamagedError as error:
        context.reporter.note(f"{name} is not taken over from {donor.run}: {error}")
        return None
    reason = f"same inputs as {old.name} in {donor.run}, bytes checked"
    record = StageRecord(name, key, inputs, files, {**old.facts, "folder": folder}, old.seconds, reason)
    context.book.put(record)
    context.reporter.stage(name, "reused", reason)
    return record
