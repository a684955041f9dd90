"""A scheduler and workers on this machine, for `--workers N`: processes of our own, reached through the loopback interface."""

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

from tmrepro.runner.cluster.serve import WORKER_NUMBER, WORKER_SETTINGS

LOOPBACK = "127.0.0.1"
OWN_FILES, FILES_PER_WORKER = 40, 16  # 23 and 11 were measured; without them Dask waits, and says nothing
HANGING_SECONDS = 60  # without a sign of life, a worker is killed and started again


class CountingNanny(Nanny):
    """Starts a worker process, and another one whenever that dies; knows how many it has started."""

    starts = 0

    async def instantiate(self) -> Status:
        """Start a process."""
        self.starts += 1
        return await super().instantiate()


def local_cluster(workers: int) -> Any:
    """A scheduler in this process and `workers` processes. Dask starts those again that die or hang.

    Raises:
        OSError: this process may not open as many files as that takes.
        RuntimeError: a process did not start.
    """
    _require_open_files(OWN_FILES + workers * FILES_PER_WORKER)
    scheduler = {
        "cls": Scheduler,
        "options": {"host": LOOPBACK, "port": 0, "dashboard_address": f"{LOOPBACK}:0", "worker_ttl": HANGING_SECONDS},
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
    """How many worker processes were started so far; infinitely many, where none will be started any more."""
    nannies = cluster.workers.values()
    if all(nanny.status == Status.closed for nanny in nannies):
        return math.inf
    return float(sum(nanny.starts for nanny in nannies))


def kill_workers(cluster: Any) -> None:
    """End the worker processes at once: a task may take an hour, and whoever asked to stop does not wait for it."""

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
