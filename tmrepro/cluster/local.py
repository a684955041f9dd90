"""A scheduler and workers on this machine, for `--workers N`: processes of our own, reached through the loopback interface."""

from __future__ import annotations

import logging
from typing import Any

import dask.config
from distributed import Nanny, Scheduler, SpecCluster

from tmrepro.cluster.serve import WORKER_NUMBER, WORKER_SETTINGS

LOOPBACK = "127.0.0.1"
HANGING_SECONDS = 60  # without a sign of life, a worker is killed and started again


def local_cluster(workers: int) -> Any:
    """A scheduler in this process and `workers` processes. Dask starts those again that die or hang."""
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
        number: {"cls": Nanny, "options": {**common, "env": {WORKER_NUMBER: str(number)}}} for number in range(workers)
    }
    with dask.config.set({"distributed.nanny.pre-spawn-environ": {}}):
        return SpecCluster(specs, scheduler, silence_logs=logging.CRITICAL)


def kill_workers(cluster: Any) -> None:
    """End the worker processes at once: a task may take an hour, and whoever asked to stop does not wait for it."""

    async def kill() -> None:
        for nanny in cluster.workers.values():
            nanny.auto_restart = False
            if nanny.process is not None and nanny.process.process is not None:
                await nanny.process.process.kill()

    cluster.sync(kill)
