"""Statistics and provenance of a run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmrepro.data import Dataset
from tmrepro.records import Surface
from tmrepro.runner.cluster import Task
from tmrepro.runner.context import Context
from tmrepro.runner.provenance import code_facts, package_versions, platform_facts
from tmrepro.runner.workspace import Workspace
from tmrepro.spec import spec_hash
from tmrepro.statistics import Value, surface_statistics
from tmrepro.store.documents import write_json
from tmrepro.store.run_files import STATISTICS
from tmrepro.store.signatures import SIGNATURE, home_document, signature_document
from tmrepro.store.stages import StageRecord
from tmrepro.store.surfaces import read_surface

Statistics = dict[str, dict[str, dict[str, Value]]]


@dataclass(frozen=True, kw_only=True)
class ComputeStatistics(Task[tuple[tuple[str, str], dict[str, Value]]]):
    """Compute the statistics of a surface, which the task carries. The result includes `place`, (SURFACE, MODEL)."""

    place: tuple[str, str]
    surface: Surface
    home: tuple[int, int]
    step: float
    error_over_bound: float | None

    def compute(self, workspace: Workspace | None) -> tuple[tuple[str, str], dict[str, Value]]:  # noqa: ARG002
        """See `Task.compute`. It needs neither files nor data."""
        return self.place, surface_statistics(
            self.surface, home=self.home, step=self.step, error_over_bound=self.error_over_bound
        )


def store_statistics(context: Context, surfaces: Mapping[tuple[str, str], StageRecord]) -> Statistics:
    """Compute statistics.json from the stored surfaces, and write it."""
    with closing(context.engine.each(_tasks(context.run, surfaces), context)) as results:
        values = dict(results)
    found = _by_surface({place: values[place] for place in surfaces})
    write_json(context.run / STATISTICS, found, work=context.work)
    return found


def statistics_of(run: Path, surfaces: Sequence[tuple[str, str]]) -> Statistics:
    """Return SURFACE -> MODEL -> statistic -> value, from the surfaces stored in `run`. This process computes all of them."""
    return _by_surface(dict(task.compute(None) for task in _tasks(run, surfaces)))


def _tasks(run: Path, surfaces: Iterable[tuple[str, str]]) -> Iterator[ComputeStatistics]:
    for surface, model in surfaces:
        values, facts, home, step = read_surface(run, surface, model)
        error = None if facts.error is None else facts.error.over_bound
        yield ComputeStatistics(
            needs={}, place=(surface, model), surface=values, home=home, step=step, error_over_bound=error
        )


def _by_surface(values: Mapping[tuple[str, str], dict[str, Value]]) -> Statistics:
    found: Statistics = {}
    for (surface, model), statistics in values.items():
        found.setdefault(surface, {})[model] = statistics
    return found


def provenance(context: Context, *, started: str, layouts: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Return the content of provenance.json."""
    dataset = context.dataset
    return {
        "spec_hash": spec_hash(context.spec),
        "data": {
            "name": context.spec.data.name,
            "source": dataset.source,
            "fingerprint": dataset.fingerprint,
            "train": len(dataset.train.labels),
            "validation": len(dataset.validation.labels),
            "classes": list(dataset.classes),
            **_of_inputs(dataset),
            **home_document(context.home, run=context.run, spec=context.spec),
            **({"notes": list(dataset.notes)} if dataset.notes else {}),
        },
        "code": code_facts(),
        "packages": package_versions(),
        "platform": platform_facts(context.device, determinism=context.determinism),
        "started": started,
        "ended": now(),
        "seconds": seconds,
        "timings": {record.name: record.seconds for record in context.book.records()},
        "parameters": dict(layouts),
        "stages": {
            record.name: {
                "name": record.name,
                "key": record.key,
                "inputs": record.inputs,
                "files": record.files,
                "facts": record.facts,
                "seconds": record.seconds,
                "reason": record.reason,
                "complete": record.complete,
            }
            for record in context.book.records()
        },
    }


def _of_inputs(dataset: Dataset) -> dict[str, Any]:
    """Return the constants with which pictures are scaled; for other data, the signature of the networks."""
    if dataset.mean is None or dataset.deviation is None:
        return {SIGNATURE: signature_document(dataset.signature)}
    return {"mean": list(dataset.mean), "deviation": list(dataset.deviation)}


def now() -> str:
    """Return the present time, ISO 8601 in UTC."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
