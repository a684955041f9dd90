"""Costs and gains of several workers: python benchmarks/cluster.py [--spec SPEC] [--chunks 1000 10000 100000] [--quick]

1. Trainings of a spec: two workers with one thread compared with one process with two threads, in images per second.
2. Many chunks of a stand-in evaluator that computes nothing: seconds per chunk, and the coordinator's memory.
3. With --project: an estimate for 8, 64 and 512 GPUs, and the bottleneck.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tmrepro.records import Grid, SurfaceFacts
from tmrepro.reporting.progress import Silent
from tmrepro.runner.cluster import Task
from tmrepro.store.surface_group import SurfaceGroup
from tmrepro.surface.executors import ChunkResult

KIB = 1024
GPUS = (8, 64, 512)
GIGABIT_BYTES = 1.25e8  # per second


@dataclass(frozen=True)
class StandInSetup:
    """A run that requires nothing from its workers."""

    key: str = "stand-in"

    def prepare(self) -> None:
        """Do nothing."""

    def own_data(self) -> str:
        return "no data"

    def open(self, dataset: Any) -> Any:
        return dataset

    def begin(self) -> None:
        """Do nothing."""

    def at(self, workspace: Any, run: Path) -> Any:  # noqa: ARG002
        return workspace


@dataclass(frozen=True, kw_only=True)
class StandIn(Task[ChunkResult]):
    """A chunk of one point. Its value is its position."""

    index: tuple[int, int]

    def compute(self, workspace: Any) -> ChunkResult:  # noqa: ARG002
        value = np.full((1, 1), float(self.index[0]))
        return ChunkResult(self.index, value, value)


@dataclass(frozen=True)
class NoRun:
    """A run folder that no task reads."""

    run: Path = Path()
    dataset: str = "no data"


class Epochs(Silent):
    """Counts finished epochs, and records the time of the last one."""

    def __init__(self) -> None:
        self.count, self.last = 0, math.nan

    def epoch(self, model: str, epoch: Any, *, seed: int, max_epochs: int) -> None:  # noqa: ARG002
        self.count, self.last = self.count + 1, time.monotonic()


def chunks(count: int, *, workers: int) -> dict[str, float]:
    """Measure seconds per chunk with `workers` local workers, stored as in a run, and the peak memory of this process."""
    from tmrepro.runner.cluster.coordinator import Cluster

    side = int(np.ceil(np.sqrt(count)))

    def tasks() -> Iterator[StandIn]:
        for number in range(count):
            yield StandIn(needs={}, index=divmod(number, side))

    cluster = Cluster(StandInSetup(), reporter=Silent(), workers=workers)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        group = _create(run, side)
        try:
            next(cluster.each([StandIn(needs={}, index=(0, 0))], NoRun()))  # the workers start
            begin, done = time.monotonic(), 0
            for result in cluster.each(tasks(), NoRun()):
                group.write(result.index, result.loss, result.accuracy)
                done += 1
            seconds = time.monotonic() - begin
        finally:
            cluster.close()
    assert done == count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    return {"chunks": count, "seconds_per_chunk": seconds / count, "peak_bytes": float(peak)}


def _create(run: Path, side: int) -> SurfaceGroup:
    from tmrepro.records import Direction
    from tmrepro.store.surfaces import create_surface

    axis = np.arange(side, dtype=np.float64)
    direction = Direction(seed=None, sha256="0" * 64, norm=1.0)
    facts = SurfaceFacts(direction, direction, 0.0, 1.0, 1, "original")
    return create_surface(run, "stand-in", "none", grid=Grid(axis, axis, (0, 0), 1.0), chunk=1, facts=facts)


def trainings(spec: str, *, workers: int, threads: int) -> dict[str, float]:
    """Measure images per second with `workers` workers, from the start of a run to the end of its last training."""
    import tmrepro
    from tmrepro.spec import load_spec

    loaded = load_spec(spec)
    part = loaded.model_copy(update={"compute": loaded.compute.model_copy(update={"threads": threads})})
    epochs = Epochs()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        tmrepro.run(part, out=Path(folder) / "run", workers=workers, reporter=epochs)
    seconds = epochs.last - begin
    assert part.data.train is not None
    images = epochs.count * part.data.train
    return {"workers": workers, "threads": threads, "seconds": seconds, "pictures_per_second": images / seconds}


def project(*, chunk_seconds: float, gpu_seconds: float, model_bytes: float, data_bytes: float) -> list[dict[str, Any]]:
    """Return, for each number of GPUs, the chunks per second computed and stored by the coordinator, and the sending time.

    `gpu_seconds` is the time of a chunk on one GPU. The smaller rate is the bottleneck.
    """
    found = []
    for gpus in GPUS:
        computed, stored = gpus / gpu_seconds, 1 / chunk_seconds
        found.append(
            {
                "gpus": gpus,
                "computed_chunks_per_second": computed,
                "stored_chunks_per_second": stored,
                "bottleneck": "computing" if computed < stored else "the coordinator, which stores one chunk at a time",
                "seconds_to_send_data_and_theta": gpus * (model_bytes + data_bytes) / GIGABIT_BYTES,
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", help="spec whose trainings are timed")
    parser.add_argument("--chunks", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="100 chunks, no trainings")
    parser.add_argument("--project", action="store_true")
    parser.add_argument(
        "--gpu-seconds", type=float, help="measured seconds of one chunk on one GPU (benchmarks/device.py)"
    )
    parser.add_argument("--model-bytes", type=float, default=94e6, help="bytes of theta*; the default is ResNet50's")
    parser.add_argument("--data-bytes", type=float, default=184e6, help="bytes of the data; default: CIFAR-10")
    asked = parser.parse_args()
    found: dict[str, Any] = {"cores": os.cpu_count(), "python": sys.version.split()[0], "chunks": []}
    for count in [100] if asked.quick else asked.chunks:
        found["chunks"].append(chunks(count, workers=asked.workers))
    if asked.spec and not asked.quick:
        found["trainings"] = [
            trainings(asked.spec, workers=1, threads=2),
            trainings(asked.spec, workers=2, threads=1),
        ]
    if asked.project and asked.gpu_seconds and found["chunks"]:
        last = found["chunks"][-1]["seconds_per_chunk"]
        found["projection"] = project(
            chunk_seconds=last,
            gpu_seconds=asked.gpu_seconds,
            model_bytes=asked.model_bytes,
            data_bytes=asked.data_bytes,
        )
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
