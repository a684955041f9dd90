"""Who computes: this process, worker processes here, or workers anywhere, through Dask's `distributed`.

tasks.py         tasks and stages, and how one process does them
turns.py         the threads of stages, one of which works at a time
link.py          where a scheduler is, and whether it is safe to talk to it
admission.py     a worker is prepared and compared before it gets a task
stock.py         the files that a worker holds
talk.py          what is said to a scheduler and its workers
coordinator.py   tasks done by the workers of a scheduler
local.py         a scheduler and workers on this machine
serve.py         `tmrepro worker`

A task is a function of a workspace and of files, so nothing that Dask decides (where it runs, when, how often) can change a
bit. Only the last six import distributed, and nobody imports them for one worker.
"""

from __future__ import annotations

from tmrepro.runner.cluster.link import Link
from tmrepro.runner.cluster.tasks import Engine, InProcess, Stage, Task

__all__ = ["Engine", "InProcess", "Link", "Stage", "Task"]
