"""A scheduler and workers on this machine, for `--workers N`: local processes that use the loopback interface."""

from __future__ import annotations

import errno
import logging
import math
import os
import resource
from pathlib import Path
from typing import Any

import dask.config
from distributed import Nanny, Scheduler, SpecCluster
from distributed.core import Status
from distributed.scheduler import DEFAULT_EXTENSIONS
from distributed.spans import SpanMetadata, SpansSchedulerExtension

from tmrepro.runner.cluster.serve import WORKER_NUMBER, WORKER_SETTINGS

LOOPBACK = "127.0.0.1"
OWN_FILES, FILES_PER_WORKER = 40, 16  # 23 and 11 were measured; with fewer, Dask waits without a message
HANGING_SECONDS = 60  # a worker without a heartbeat for this time is killed and restarted


class CountingNanny(Nanny):
    """Starts a worker process, restarts it when it dies or hangs, and counts the starts."""

    starts = 0

    async def instantiate(self) -> Status:
        """Start a process."""
        self.starts += 1
        return await super().instantiate()


class BoundedSpans(SpansSchedulerExtension):
    """Keeps no record of each submission. Dask's own grows by half a kibibyte with every chunk, as long as the scheduler runs."""

    def observe_tasks(self, tss: Any, code: Any, span_metadata: Any) -> Any:  # noqa: ARG002 - Dask's signature
        """Group tasks as Dask does."""
        return super().observe_tasks(tss, code=(), span_metadata=SpanMetadata(collections=[]))


def local_cluster(workers: int) -> Any:
    """Start a scheduler in this process, and `workers` processes. Dask restarts those that die or hang.

    Raises:
        OSError: the limit of open files is too low.
        RuntimeError: a process did not start.
    """
    _require_open_files(OWN_FILES + workers * FILES_PER_WORKER)
    scheduler = {
        "cls": Scheduler,
        "options": {
            "host": LOOPBACK,
            "port": 0,
            "dashboard_address": f"{LOOPBACK}:0",
            "worker_ttl": HANGING_SECONDS,
            "extensions": {**DEFAULT_EXTENSIONS, "spans": BoundedSpans},
        },
    }
    common = {
        "host": LOOPBACK,
        "dashboard_address": f"{LOOPBACK}:0",
        "silence_logs": logging.CRITICAL,
        **WORKER_SETTINGS,
    }
    specs = {
        number: {"cls": CountingNanny, "options": {**common, "env": {WORKER_NUMBER: str(number)}}}
        for number in range(workers)
    }
    with dask.config.set({"distributed.nanny.pre-spawn-environ": {}}):
        return SpecCluster(specs, scheduler, silence_logs=logging.CRITICAL)


def starts_of(cluster: Any) -> float:
    """Return how many worker processes were started so far; infinity if no more will be started."""
    nannies = cluster.workers.values()
    if all(nanny.status == Status.closed for nanny in nannies):
        return math.inf
    return float(sum(nanny.starts for nanny in nannies))


def kill_workers(cluster: Any) -> None:
    """End the worker processes at once, since a task may take an hour."""

    async def kill() -> None:
        for nanny in cluster.workers.values():
            nanny.auto_restart = False
            if nanny.process is not None and nanny.process.process is not None:
                await nanny.process.process.kill()

    cluster.sync(kill)


def _require_open_files(needed: int) -> None:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    there = len(list(Path("/dev/fd").iterdir()))
    if limit != resource.RLIM_INFINITY and limit - there < needed:
        raise OSError(
            errno.EMFILE,
            f"{os.strerror(errno.EMFILE)}: the limit (ulimit -n) is {limit}, {there} are open, and {needed} more are needed",
        )
