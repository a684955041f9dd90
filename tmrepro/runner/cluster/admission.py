"""A worker is prepared and compared before it gets a task.

The coordinator registers `Admission` with the scheduler, which gives it to every present and later worker. Each worker
prepares itself for the run (before torch loads), compares itself with the coordinator, and then offers the resource that the
run's tasks require. If it cannot take part, it reports the reason. So Dask never gives a task to a worker that differs, or
to one that tmrepro did not start.
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

TOPIC = "tmrepro"  # topic of the events that workers send to the coordinator
_log = logging.getLogger("tmrepro.worker")


@runtime_checkable
class Setup(Protocol):
    """What a run requires of its workers. Workers get it before they load torch."""

    @property
    def key(self) -> str:
        """A name that identifies the content."""
        ...

    def prepare(self) -> str | None:
        """Prepare this process. Return why that is impossible, or None."""
        ...

    def own_data(self) -> Any | None:
        """Return the data, if this worker has its own copy."""
        ...

    def open(self, dataset: Any) -> Any:
        """Return the workspace for tasks (a dataclass whose `run` is a folder)."""
        ...

    def begin(self) -> None:
        """Prepare the thread of a task. Called before each task."""
        ...

    def at(self, workspace: Any, run: Path) -> Any:
        """Return `workspace` with its files in the folder `run`."""
        ...


@dataclass(frozen=True)
class Answer:
    """The answer of a worker to a task: its result, or the files (and the data) that the worker lacks for it."""

    worker: str
    value: Any = None
    lacks: tuple[str, ...] = ()
    lacks_data: bool = False

    @property
    def is_done(self) -> bool:
        """Return whether there is a result."""
        return not self.lacks and not self.lacks_data


class Admission(WorkerPlugin):
    """Prepares a worker for the run `wanted`, keeps the files for that run, and does its tasks."""

    def __init__(self, wanted: Setup) -> None:
        self.wanted = wanted
        self.name = resource_of(wanted)

    def setup(self, worker: Worker) -> None:
        """Start to prepare the worker. Dask calls this; the worker's heartbeat goes on meanwhile."""
        self._address = worker.address
        self._stock = Stock(Path(worker.local_directory) / self.name)
        self._dataset: Any = None
        self._workspace: Any = None
        self._offering = asyncio.ensure_future(self._offer(worker))  # a reference, against garbage collection

    async def teardown(self, worker: Worker) -> None:
        """End the offer. Dask calls this when the run or the worker ends, or another coordinator continues the run."""
        self._offering.cancel()
        self._dataset = self._workspace = None
        if worker.status == Status.running:  # otherwise the scheduler may be lost, and no answer would come
            with suppress(OSError, RuntimeError):
                await worker.set_resources(**{self.name: 0})

    async def _offer(self, worker: Worker) -> None:
        executor = worker.executors["default"]  # its thread does the tasks: some settings of torch belong to a thread
        refusal = await asyncio.get_running_loop().run_in_executor(executor, self._prepare)
        if refusal is not None:
            _log.error("refused for a run: %s", refusal)
            worker.log_event(TOPIC, {"run": self.name, "worker": worker.address, "refused": refusal})
            return
        try:
            await worker.set_resources(**{self.name: 1})
        except (OSError, RuntimeError) as error:  # the scheduler is lost, and this process will end
            _log.debug("%s", error)
            return
        # Dask assigns waiting tasks when a worker joins or resumes, but not when it offers another resource.
        worker.status = Status.paused
        worker.status = Status.running

    def receive(self, files: Mapping[str, bytes], dataset: Any | None) -> None:
        """Store what was lacking."""
        for content in files.values():
            self._stock.put(content)
        if dataset is not None:
            self._dataset = dataset

    def perform(self, task: Task[Any]) -> Answer:
        """Do `task`, unless files or data are lacking."""
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
        except Exception as error:  # noqa: BLE001 - any error keeps the worker from taking part
            _log.debug("while it was prepared", exc_info=True)
            return f"{type(error).__name__}: {error}"
        return refusal


def resource_of(wanted: Setup) -> str:
    """Return the name of the plugin, which is also the resource that admitted workers offer."""
    return f"tmrepro-{wanted.key}"


def perform(name: str, task: Task[Any]) -> Answer:
    """Do a task in a worker. Dask runs this function as its task."""
    worker = get_worker()
    admission = worker.plugins.get(name)
    if not isinstance(admission, Admission):  # the plugin is being replaced
        return Answer(worker.address, lacks_data=True)
    try:
        return admission.perform(task)
    except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
        failure = travelling(error)
    raise failure  # outside of the handler, so that it has no context


def travelling(error: Exception) -> Exception:
    """Return `error` in a form that can be sent. Its causes may hold any object (a user's network), so they are sent as text."""
    told = "".join(traceback.format_exception(error))
    error.__cause__ = error.__context__ = None
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - unpickling an error of any class can fail in any way
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"In the worker:\n{told}")
    return error


def receive(name: str, files: Mapping[str, bytes], dataset: Any | None, dask_worker: Worker) -> None:
    """Store what was lacking. Runs in a worker beside its tasks (`Client.run`)."""
    admission = dask_worker.plugins.get(name)
    if isinstance(admission, Admission):
        admission.receive(files, dataset)
