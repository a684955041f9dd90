"""Computing in this process, in local worker processes, or in workers on other machines, through Dask's `distributed`.

tasks.py         tasks and stages, and the engine of one process
turns.py         the threads of stages, of which one runs at a time
link.py          the address of a scheduler, and whether the connection is secure
admission.py     a worker is prepared and compared before it gets a task
stock.py         the files that a worker holds
talk.py          calls to a scheduler and its workers
coordinator.py   the engine that uses the workers of a scheduler
local.py         a scheduler and workers on this machine
serve.py         `tmrepro worker`

A task is a function of a workspace and of files. So Dask's decisions (where, when and how often a task runs) cannot change
a bit. Only the last six modules import distributed. With one worker, nothing imports them.
"""

from __future__ import annotations

from tmrepro.runner.cluster.link import Link
from tmrepro.runner.cluster.tasks import Engine, InProcess, Stage, Task

__all__ = ["Engine", "InProcess", "Link", "Stage", "Task"]
