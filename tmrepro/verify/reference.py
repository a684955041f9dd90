"""References: what a run is held against. Built from runs, small enough to be committed, checked before it is believed.

REFERENCE/
spec.yaml  statistics.json  surfaces.zarr/  provenance.json       as in the run they come from
models/NAME/minimum.json, history.csv, labels.npy                  no weights
figures/*.png
bands.json            SURFACE -> MODEL -> statistic -> band, from replicates; {} without replicates
manifest-sha256.txt   of the reference folder itself
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tmrepro.errors import DamagedError, UsageError
from tmrepro.spec import Spec, load_spec
from tmrepro.store.atomic import safe_path, work_folder, write_bytes
from tmrepro.store.documents import read_json, write_json
from tmrepro.store.manifest import check_manifest, write_manifest
from tmrepro.verify.grades import Band

KEPT = ("spec.yaml", "statistics.json", "provenance.json")
KEPT_PATTERNS = (
    "surfaces.zarr/**/*",
    "models/*/minimum.json",
    "models/*/history.csv",
    "models/*/labels.npy",
    "figures/*.png",
)
CONFIDENCE = 0.95
# Statistics that are losses: their spread is multiplicative, so their band is one of logarithms.
LOG_SCALE = frozenset({"loss_at_minimum", "loss_min", "loss_max", "loss_mean", "loss_median"})

Replicates = Sequence[Mapping[str, Mapping[str, Mapping[str, float | int | None]]]]


def write_reference(run: Path, *, to: Path, replicates: Replicates) -> None:
    """Make the reference folder `to` from a finished run and the statistics of its replicates (the run's among them).

    Raises:
        DamagedError: the run is not what its manifest says.
        UsageError: `to` holds something that is no reference.
    """
    findings = check_manifest(run)
    if findings:
        raise DamagedError(f"{run}: {findings[0]}")
    if to.exists() and any(to.iterdir()):
        if not (to / "bands.json").is_file():
            raise UsageError(f"{to} is not empty and holds no reference; choose another --to")
        shutil.rmtree(to)
    work = work_folder(to)
    files = [run / name for name in KEPT] + [path for pattern in KEPT_PATTERNS for path in sorted(run.glob(pattern))]
    for path in files:
        if path.is_file():
            write_bytes(to / path.relative_to(run), path.read_bytes(), work=work)
    write_json(to / "bands.json", bands_of(replicates), work=work)
    write_manifest(to, work=work)
    shutil.rmtree(work.parent)


def bands_of(replicates: Replicates, *, confidence: float = CONFIDENCE) -> dict[str, Any]:
    """A band for every statistic of every surface, measured on `replicates`; {} if there are fewer than two.

    A band is the Student-t prediction interval for one more replicate: mean +- t s sqrt(1 + 1/n) with n - 1 degrees of
    freedom, on logarithms for losses, at a level such that all statistics of all surfaces together hold with
    `confidence` (Bonferroni). A statistic that is null or non-positive on its log scale in some replicate has none.
    """
    if len(replicates) < 2:
        return {}
    from scipy import stats

    first, n = replicates[0], len(replicates)
    keys = [(s, m, name) for s, models in first.items() for m, values in models.items() for name in values]
    quantile = float(stats.t.ppf(1 - (1 - confidence) / (2 * len(keys)), n - 1))
    bands: dict[str, Any] = {}
    for surface, model, name in keys:
        values = [replicate[surface][model][name] for replicate in replicates]
        band = _band([value for value in values if value is not None], n=n, quantile=quantile, log=name in LOG_SCALE)
        if band is not None:
            bands.setdefault(surface, {}).setdefault(model, {})[name] = asdict(band)
    return bands


def _band(values: list[float], *, n: int, quantile: float, log: bool) -> Band | None:
    if len(values) < n or (log and min(values) <= 0):
        return None
    points = [math.log(value) for value in values] if log else values
    mean = math.fsum(points) / n
    deviation = math.sqrt(math.fsum((point - mean) ** 2 for point in points) / (n - 1))
    reach = quantile * deviation * math.sqrt(1 + 1 / n)
    low, high = mean - reach, mean + reach
    if log:
        low, high = math.exp(low), math.exp(min(high, 700.0))
    return Band(n, mean, deviation, low, high, "log" if log else "linear")


class Reference:
    """A reference folder whose manifest holds.

    Raises:
        DamagedError: there is none, or it is not what its manifest says.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "spec.yaml").is_file():
            raise DamagedError(f"{folder}: no reference is there; tmrepro reference build SPEC makes one")
        findings = check_manifest(folder)
        if findings:
            raise DamagedError(f"reference {folder}: {findings[0]}")
        self.folder = folder
        self.spec: Spec = load_spec(folder / "spec.yaml")
        self.statistics: dict[str, Any] = read_json(safe_path(folder, "statistics.json"), name="statistics.json")
        self.provenance: dict[str, Any] = read_json(safe_path(folder, "provenance.json"), name="provenance.json")
        self._bands: dict[str, Any] = read_json(safe_path(folder, "bands.json"), name="bands.json")

    def band(self, surface: str, model: str, statistic: str) -> Band | None:
        """The band of a statistic; None if none was measured."""
        found = self._bands.get(surface, {}).get(model, {}).get(statistic)
        return None if found is None else Band(**found)
