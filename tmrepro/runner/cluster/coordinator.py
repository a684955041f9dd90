"""The engine that uses the workers of a scheduler.

Dask decides which worker does a task, and may do a task twice. A task that was lost with a scheduler is sent again.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import dask.config
from dask.utils import key_split
from distributed import Client, Future, KilledWorker

from tmrepro.errors import ComputeError
from tmrepro.reporting.progress import Reporter
from tmrepro.runner.cluster.admission import Admission, Answer, Setup, perform, receive, resource_of
from tmrepro.runner.cluster.link import Link
from tmrepro.runner.cluster.local import kill_workers, local_cluster, starts_of
from tmrepro.runner.cluster.serve import silence
from tmrepro.runner.cluster.talk import (
    CONNECT_SECONDS,
    LOST,
    client_of,
    content_of,
    dashboard_of,
    leave,
    listen,
    register,
    workers_of,
)
from tmrepro.runner.cluster.tasks import Place, Stage, Task
from tmrepro.runner.cluster.turns import Turns

R = TypeVar("R")

LONELY_SECONDS = 60.0  # time without any worker before a note says so
ALLOWED_DEATHS = 3  # workers that may die while they do the same task; Dask's own limit as well
START_TRIES = 3  # attempts to start a local worker process until one is prepared
LOOK_SECONDS = 1.0  # between two checks of the workers
NAMES_KEPT = 1000  # tasks after which Dask's cache of names, which would keep 100,000, is emptied
TASKS_PER_WORKER = 2  # one under way and one to follow; more would only fill the scheduler's memory


@dataclass(eq=False)
class _Job:
    """A task that was sent. `supplied` are the workers that got missing files for it; `deaths` counts those that died."""

    task: Task[Any]
    client: Client
    future: Future[Answer]
    begun: float
    answer: Answer | None = None
    supplied: set[str] = field(default_factory=set)
    deaths: int = 0


class Cluster:
    """An engine that uses the workers of a scheduler, or `workers` local processes."""

    in_process = False

    def __init__(self, wanted: Setup, *, reporter: Reporter, link: Link | None = None, workers: int = 0) -> None:
        self._wanted, self._name, self._link, self._workers = wanted, resource_of(wanted), link, workers
        self._reporter = reporter
        self._turns = Turns()
        self._client: Client | None = None
        self._cluster: Any = None
        self._admitted = 0
        self._starts = 0.0  # number of started local worker processes when one last took part
        self._sent = 0  # tasks under way
        self._named = 0  # tasks sent so far
        self._sending: set[tuple[str, str]] = set()  # files being sent: address of the worker, SHA-256
        self._arrived: dict[tuple[str, str], float] = {}  # files that have arrived, and when
        self._events: deque[Mapping[str, Any]] = deque()
        silence()
        dask.config.set(
            {"distributed.admin.large-graph-warning-threshold": "1 TB"}
        )  # a surface to be measured is large

    def connect(self) -> None:
        """Connect to the scheduler, or start one.

        Raises:
            ComputeError: no scheduler answers at its address, or local processes cannot be started.
            UsageError: the link is wrong or unsafe.
        """
        if self._link is None:
            try:
                self._cluster = local_cluster(self._workers)
            except (RuntimeError, OSError) as error:
                raise ComputeError(f"worker processes cannot be started: {error}") from error
            client, address = Client(self._cluster, set_as_default=False), ""
        else:
            client, address = client_of(self._link)
        try:
            listen(client, self._events.append)
        except LOST as error:
            raise ComputeError("the scheduler was lost right after connecting; the same command continues") from error
        self._client = client
        # In the background: this ends when all workers are prepared, and a worker that hangs never is.
        threading.Thread(target=register, args=(client, Admission(self._wanted)), daemon=True).start()
        threading.Thread(target=self._watch, args=(client, address), daemon=True).start()

    @property
    def dashboard(self) -> str | None:
        """The address of Dask's dashboard, or None if it is off."""
        return None if self._client is None else dashboard_of(self._client)

    def call(self, task: Task[R], workspace: Place) -> R:
        """See `Engine.call`."""
        with closing(self.each([task], workspace)) as results:
            return next(results)

    def each(self, tasks: Iterable[Task[R]], workspace: Place) -> Generator[R, None, None]:
        """See `Engine.each`."""
        waiting, jobs = iter(tasks), list[_Job]()
        with self._turns:
            try:
                while True:
                    while not jobs or self._sent < TASKS_PER_WORKER * max(1, self._admitted):
                        task = next(waiting, None)
                        if task is None:
                            break
                        jobs.append(self._send(task))
                    if not jobs:
                        return
                    self._turns.wait_for(lambda: any(job.future.done() for job in jobs))
                    for job in [job for job in jobs if job.future.done()]:
                        self._receive(job, workspace)
                        if job.answer is not None:
                            jobs.remove(job)
                            self._drop(job)
                            yield job.answer.value
            finally:
                for job in jobs:
                    self._drop(job)

    def graph(self, stages: Sequence[Stage]) -> None:
        """See `Engine.graph`. The number of stages under way is at most the number of workers plus one."""
        self._turns.graph(stages, at_once=lambda: 1 + max(1, self._admitted or self._workers))

    def close(self) -> None:
        """See `Engine.close`."""
        client, self._client = self._client, None
        with suppress(*LOST):
            if self._cluster is not None:
                kill_workers(self._cluster)
            elif client is not None and client.status == "running":
                leaving = threading.Thread(target=leave, args=(client, self._name), daemon=True)
                leaving.start()
                leaving.join(CONNECT_SECONDS)  # a limit, since a worker may hang
        for each in (client, self._cluster):
            if each is not None:
                with suppress(*LOST):
                    each.close(timeout=CONNECT_SECONDS)
        self._turns.close()

    def _send(self, task: Task[Any]) -> _Job:
        if self._client is None and self._link is None:
            self.connect()
        self._turns.wait_for(lambda: self._client is not None)  # the scheduler may be lost
        assert self._client is not None  # noqa: S101
        key = f"{type(task).__name__}-{uuid.uuid4().hex}"
        future = self._client.submit(perform, self._name, task, key=key, pure=False, resources={self._name: 1})
        future.add_done_callback(self._turns.wake)
        self._sent += 1
        self._named += 1
        if self._named % NAMES_KEPT == 0:
            key_split.cache_clear()
        return _Job(task, self._client, future, time.monotonic())

    def _drop(self, job: _Job) -> None:
        self._sent -= 1
        job.future.release()

    def _send_again(self, job: _Job) -> None:
        self._drop(job)
        again = self._send(job.task)
        job.client, job.future, job.begun = again.client, again.future, again.begun

    def _receive(self, job: _Job, workspace: Place) -> None:
        """Return the answer of a job that has ended. Send a job again if it was lost or lacked files."""
        try:
            answer: Answer = self._turns.aside(job.future.result)
        except KilledWorker as error:
            raise _deadly(job.task, deaths=error.allowed_failures + 1) from error
        except LOST:
            if job.future.status == "error":  # raised by the task itself
                raise
            self._reach_again(job.client)
            self._send_again(job)
            return
        if answer.is_done:
            job.answer = answer
            self._took_part()
            return
        self._count_deaths(answer.worker, job)
        self._supply(answer, job, workspace)
        self._send_again(job)

    def _count_deaths(self, worker: str, job: _Job) -> None:
        """Count the worker's death. Dask's own count ends with an answer, and a new worker always answers that it lacks files."""
        if job.supplied:
            with suppress(*LOST):
                gone = job.supplied.difference(self._turns.aside(lambda: workers_of(job.client)))
                job.deaths += len(gone)
                job.supplied -= gone
        if job.deaths > ALLOWED_DEATHS:
            raise _deadly(job.task, deaths=job.deaths)
        job.supplied.add(worker)

    def _supply(self, answer: Answer, job: _Job, workspace: Place) -> None:
        """Send a worker what it lacks, unless that is being sent already, or has arrived."""
        task = job.task
        data = {(answer.worker, "data")} if answer.lacks_data else set[tuple[str, str]]()
        wanted = data | {(answer.worker, task.needs[path]) for path in answer.lacks}
        # The answer is out of date for files that arrived after the task was sent.
        missing = {one for one in wanted if self._arrived.get(one, 0.0) < job.begun}
        mine = missing - self._sending
        self._sending |= mine
        if mine:
            try:
                self._deliver(answer, job, workspace, mine)
            finally:
                self._sending -= mine
                self._turns.wake()
        self._turns.wait_for(lambda: not wanted & self._sending)

    def _deliver(self, answer: Answer, job: _Job, workspace: Place, mine: Collection[tuple[str, str]]) -> None:
        client, worker, needs = job.client, answer.worker, job.task.needs
        paths = [path for path in answer.lacks if (worker, needs[path]) in mine]
        files = {path: content_of(workspace, path, digest=needs[path]) for path in paths}
        dataset = workspace.dataset if (worker, "data") in mine else None
        try:
            given = self._turns.aside(
                lambda: client.run(receive, self._name, files, dataset, workers=[worker], on_error="return")
            )
            self._arrived |= dict.fromkeys(mine, time.monotonic())
            failed = given.get(worker)
            if isinstance(failed, OSError) and failed.errno is not None and worker in workers_of(client):
                raise ComputeError(f"worker {worker} cannot hold what it needs: {failed}")
        except LOST:
            self._reach_again(client)

    def _reach_again(self, lost: Client) -> None:
        """Connect again to the scheduler of `lost`, or to its replacement, as soon as there is one."""
        if self._cluster is not None:
            raise ComputeError("the local scheduler was lost; the same command continues")
        if self._client is not lost:  # another thread has reconnected, or does so now
            self._turns.wait_for(lambda: self._client is not None)
            return
        self._client, self._admitted = None, 0
        threading.Thread(target=lost.close, kwargs={"timeout": CONNECT_SECONDS}, daemon=True).start()
        self._reporter.note("the scheduler is lost; waiting for it or its replacement")
        while True:
            try:
                self._turns.aside(self.connect)
            except ComputeError:
                self._turns.pause()
            else:
                self._reporter.note("the scheduler is back")
                self._turns.wake()
                return

    def _watch(self, client: Client, address: str) -> None:
        """Count the workers at intervals and pass on their messages, until `client` is replaced."""
        lonely_since, told = time.monotonic(), False
        while self._client is client:
            with suppress(Exception):  # the client may be closing; waiting for a task raises the reason
                admitted = sum(self._name in worker["resources"] for worker in workers_of(client).values())
                with self._turns:
                    if self._client is client and admitted != self._admitted:
                        self._admitted = admitted
                        self._turns.wake()
                if admitted:
                    lonely_since, told = time.monotonic(), False
                    self._took_part()
                self._check_starts()
            with self._turns:
                while self._events:
                    self._hear(self._events.popleft())
                if not told and time.monotonic() > lonely_since + LONELY_SECONDS:
                    told = True
                    remedy = f". On each machine: tmrepro worker {address}" if address else ""
                    self._reporter.note(f"no worker has taken part for {LONELY_SECONDS:.0f} s; still waiting{remedy}")
            time.sleep(LOOK_SECONDS)

    def _took_part(self) -> None:
        """Note that a worker is or was prepared. So not all local processes died before they could take part."""
        self._starts = self._started()

    def _started(self) -> float:
        return 0.0 if self._cluster is None else starts_of(self._cluster)

    def _check_starts(self) -> None:
        if self._started() - self._starts > START_TRIES * self._workers:
            self._turns.fail(
                ComputeError(
                    f"worker processes die before they can take part, {self._workers} of them, {START_TRIES} times in "
                    "succession; with too little memory or too few open files (ulimit -n), use fewer --workers"
                )
            )

    def _hear(self, event: Mapping[str, Any]) -> None:
        if event.get("run") != self._name or "refused" not in event:
            return
        if self._link is None:
            self._turns.fail(ComputeError(f"worker processes cannot take part: {event['refused']}"))
        else:
            self._reporter.note(f"worker {event['worker']} is refused: {event['refused']}")


def _deadly(task: Task[Any], *, deaths: int) -> ComputeError:
    return ComputeError(
        f"{deaths} workers died while they did the same task ({type(task).__name__}); with less memory than they need, use "
        "fewer of them on a machine"
    )
