"""A worker is prepared and compared before it gets a task.

The coordinator registers `Admission` with the scheduler, which hands it to every worker there is and to every one that joins
later. Each prepares itself for the run (before torch loads), compares itself with the coordinator, and offers the resource
that the run's tasks ask for, or says why it is refused. So Dask itself never gives a task to a worker that differs, nor to
one that was not started by tmrepro.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from distributed import Worker, WorkerPlugin, get_worker
from distributed.core import Status

from tmrepro.errors import TmreproError
from tmrepro.runner.cluster.stock import Stock
from tmrepro.runner.cluster.tasks import Task

TOPIC = "tmrepro"  # of the events that workers send to the coordinator
_log = logging.getLogger("tmrepro.worker")


@runtime_checkable
class Setup(Protocol):
    """What a run asks of its workers. It travels to them before they have loaded torch."""

    @property
    def key(self) -> str:
        """A name for all of it."""
        ...

    def prepare(self) -> str | None:
        """Make this process fit; returns why that is impossible, if it is."""
        ...

    def own_data(self) -> Any | None:
        """The data, where this worker has them itself."""
        ...

    def open(self, dataset: Any) -> Any:
        """The workspace for tasks (a dataclass whose `run` is a folder)."""
        ...

    def begin(self) -> None:
        """Called in the thread of a task before it."""
        ...

    def at(self, workspace: Any, run: Path) -> Any:
        """`workspace` with its files in the folder `run`."""
        ...


@dataclass(frozen=True)
class Answer:
    """What a worker gives for a task: its result, or the files (and the data) that it lacks for it."""

    worker: str
    value: Any = None
    lacks: tuple[str, ...] = ()
    lacks_data: bool = False

    @property
    def is_done(self) -> bool:
        """Whether there is a result."""
        return not self.lacks and not self.lacks_data


class Admission(WorkerPlugin):
    """Prepares a worker for `wanted`, keeps what it holds for that run, and does its tasks."""

    def __init__(self, wanted: Setup) -> None:
        self.wanted = wanted
        self.name = resource_of(wanted)

    def setup(self, worker: Worker) -> None:
        """Called by Dask in each worker, which goes on giving signs of life while it is prepared."""
        self._address = worker.address
        self._stock = Stock(Path(worker.local_directory) / self.name)
        self._dataset: Any = None
        self._workspace: Any = None
        self._offering = asyncio.ensure_future(self._offer(worker))  # kept, or it could be collected

    async def teardown(self, worker: Worker) -> None:
        """Called by Dask when the run or the worker ends, or another coordinator goes on with the run."""
        self._offering.cancel()
        self._dataset = self._workspace = None
        if worker.status == Status.running:  # else its scheduler may be gone, and an answer would be waited for
            with suppress(OSError, RuntimeError):
                await worker.set_resources(**{self.name: 0})

    async def _offer(self, worker: Worker) -> None:
        executor = worker.executors["default"]  # whose thread does the tasks: some settings of torch are a thread's own
        refusal = await asyncio.get_running_loop().run_in_executor(executor, self._prepare)
        if refusal is not None:
            _log.error("refused for a run: %s", refusal)
            worker.log_event(TOPIC, {"run": self.name, "worker": worker.address, "refused": refusal})
            return
        try:
            await worker.set_resources(**{self.name: 1})
        except (OSError, RuntimeError) as error:  # its scheduler is gone, and so will this process be
            _log.debug("%s", error)
            return
        # Dask looks at tasks that wait for a resource when a worker joins or goes on, not when it offers another one.
        worker.status = Status.paused
        worker.status = Status.running

    def receive(self, files: Mapping[str, bytes], dataset: Any | None) -> None:
        """Hold what was lacking."""
        for content in files.values():
            self._stock.put(content)
        if dataset is not None:
            self._dataset = dataset

    def perform(self, task: Task[Any]) -> Answer:
        """Do `task`, unless something is lacking for it."""
        lacks = self._stock.lacks(task.needs)
        if lacks or self._dataset is None:
            return Answer(self._address, lacks=lacks, lacks_data=self._dataset is None)
        self.wanted.begin()
        if self._workspace is None:
            self._workspace = self.wanted.open(self._dataset)
        with self._stock.view(task.needs) as folder:
            result = task.compute(self.wanted.at(self._workspace, folder))
        for content in task.to_hold(result):
            self._stock.put(content)
        return Answer(self._address, result)

    def _prepare(self) -> str | None:
        try:
            refusal = self.wanted.prepare()
            if refusal is None:
                self._dataset = self.wanted.own_data()
        except TmreproError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from taking part
            _log.debug("while it was prepared", exc_info=True)
            return f"{type(error).__name__}: {error}"
        return refusal


def resource_of(wanted: Setup) -> str:
    """The name of the plugin, and of the resource that admitted workers offer."""
    return f"tmrepro-{wanted.key}"


def perform(name: str, task: Task[Any]) -> Answer:
    """What runs in a worker, as a task of Dask."""
    worker = get_worker()
    admission = worker.plugins.get(name)
    if not isinstance(admission, Admission):  # it is being replaced
        return Answer(worker.address, lacks_data=True)
    try:
        return admission.perform(task)
    except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
        failure = travelling(error)
    raise failure  # not above, where it would have a context


def travelling(error: Exception) -> Exception:
    """`error` as it can be sent. What led to it may hold anything (a user's network), so it goes along as text."""
    told = "".join(traceback.format_exception(error))
    error.__cause__ = error.__context__ = None
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - whatever a class of errors does when it is made again
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"In the worker:\n{told}")
    return error


def receive(name: str, files: Mapping[str, bytes], dataset: Any | None, dask_worker: Worker) -> None:
    """What runs in a worker beside its tasks (`Client.run`), when something was lacking."""
    admission = dask_worker.plugins.get(name)
    if isinstance(admission, Admission):
        admission.receive(files, dataset)
