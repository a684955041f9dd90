"""Statistics and provenance of a run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
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
from tmrepro.store.signatures import SIGNATURE, home_document, signature_document
from tmrepro.store.surfaces import read_surface

Statistics = dict[str, dict[str, dict[str, Value]]]


@dataclass(frozen=True, kw_only=True)
class ComputeStatistics(Task[dict[str, Value]]):
    """Compute the statistics of a whole surface, which the task carries."""

    surface: Surface
    home: tuple[int, int]
    step: float
    error_over_bound: float | None

    def compute(self, workspace: Workspace | None) -> dict[str, Value]:  # noqa: ARG002 - it needs no file and no data
        """See `Task.compute`."""
        return surface_statistics(self.surface, home=self.home, step=self.step, error_over_bound=self.error_over_bound)


def statistics_task(run: Path, surface: str, model: str) -> ComputeStatistics:
    """Return the task for a surface that `run` holds."""
    values, facts, home, step = read_surface(run, surface, model)
    error = None if facts.error is None else facts.error.over_bound
    return ComputeStatistics(needs={}, surface=values, home=home, step=step, error_over_bound=error)


def statistics_of(run: Path, surfaces: Sequence[tuple[str, str]]) -> Statistics:
    """Return SURFACE -> MODEL -> statistic -> value of the surfaces that `run` holds. All is computed here."""
    return by_surface({place: statistics_task(run, *place).compute(None) for place in surfaces})


def by_surface(values: Mapping[tuple[str, str], dict[str, Value]]) -> Statistics:
    """Return statistics by surface, then by network, as statistics.json has them."""
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
