"""Tasks done by the workers of a scheduler, and the threads of the stages that ask for them.

All that a stage does here (files, records, progress) is done by one thread at a time: whoever holds the turn. A stage passes
it on while it waits for a task, and only then. Dask decides which worker does what; it may do a task twice, and a task that
was lost with a worker or a scheduler is sent again.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import dask.config
from distributed import Client, Future, KilledWorker

from tmrepro.cluster.admission import TOPIC, Admission, Answer, Setup, perform, receive, resource_of
from tmrepro.cluster.link import Link
from tmrepro.cluster.local import kill_workers, local_cluster
from tmrepro.cluster.talk import CONNECT_SECONDS, LOST, client_of, content_of, dashboard_of, leave, register, workers_of
from tmrepro.cluster.tasks import Place, Stage, Task
from tmrepro.errors import ComputeError
from tmrepro.progress import Reporter

R = TypeVar("R")

LONELY_SECONDS = 60.0  # without any worker before that is said
LOOK_SECONDS = 1.0  # between two looks at the cluster
TALKS = 64  # with the cluster at once, that somebody waits for
TASKS_PER_WORKER = 2  # sent ahead: one under way, one to follow. More would only fill the scheduler's memory


class _Stopped(BaseException):
    """The run ends: a stage that waits does not go on."""


@dataclass(eq=False)
class _Job:
    """A task that was sent."""

    task: Task[Any]
    client: Client
    future: Future[Answer]
    answer: Answer | None = None


class Cluster:
    """An engine: the workers of a scheduler, or `workers` processes of its own."""

    in_process = False

    def __init__(self, wanted: Setup, *, reporter: Reporter, link: Link | None = None, workers: int = 0) -> None:
        self._wanted, self._name, self._link, self._workers = wanted, resource_of(wanted), link, workers
        self._reporter = reporter
        self._turn = threading.Condition()
        self._talks = ThreadPoolExecutor(TALKS, thread_name_prefix="tmrepro-talk")
        self._client: Client | None = None
        self._cluster: Any = None
        self._admitted = 0
        self._sent = 0  # tasks under way
        self._sending: set[tuple[str, str]] = set()  # what is on its way to a worker: its address, and a SHA-256
        self._events: deque[Mapping[str, Any]] = deque()
        self._failure: BaseException | None = None
        self._stopping = False
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"})  # a surface to judge is large

    def connect(self) -> None:
        """Reach the scheduler, or start one.

        Raises:
            ComputeError: nobody answers at its address, or processes cannot be started here.
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
        client.subscribe_topic(TOPIC, lambda event: self._events.append(event[1]))
        self._client = client
        # In the background: this ends when all workers are prepared, and one that hangs never is.
        threading.Thread(target=register, args=(client, Admission(self._wanted)), daemon=True).start()
        threading.Thread(target=self._watch, args=(client, address), daemon=True).start()

    @property
    def dashboard(self) -> str | None:
        """The address of Dask's dashboard, where it is on."""
        return None if self._client is None else dashboard_of(self._client)

    def call(self, task: Task[R], workspace: Place) -> R:
        """See `Engine.call`."""
        with closing(self.each([task], workspace)) as results:
            return next(results)

    def each(self, tasks: Iterable[Task[R]], workspace: Place) -> Generator[R, None, None]:
        """See `Engine.each`."""
        waiting, jobs = iter(tasks), list[_Job]()
        with self._turn:
            try:
                while True:
                    while not jobs or self._sent < TASKS_PER_WORKER * max(1, self._admitted):
                        task = next(waiting, None)
                        if task is None:
                            break
                        jobs.append(self._send(task))
                    if not jobs:
                        return
                    self._wait_for(lambda: any(job.future.done() for job in jobs))
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
        """See `Engine.graph`. At most one stage more than there are workers is under way, the first ones first."""
        waiting, ended, threads = list(stages), set[str](), list[threading.Thread]()

        def run(stage: Stage) -> None:
            with self._turn:
                try:
                    if not self._stopping:
                        stage.run()
                except _Stopped:
                    pass
                except BaseException as error:  # noqa: BLE001 - raised again by the thread that called `graph`
                    self._failure = self._failure or error
                    self._stopping = True
                finally:
                    ended.add(stage.name)
                    self._turn.notify_all()

        try:
            with self._turn:
                while len(ended) < len(stages) and not self._stopping:
                    for stage in [stage for stage in waiting if ended.issuperset(stage.after)]:
                        if len(threads) - len(ended) > max(1, self._admitted or self._workers):
                            break
                        waiting.remove(stage)
                        threads.append(threading.Thread(target=run, args=(stage,), name=stage.name, daemon=True))
                        threads[-1].start()
                    self._turn.wait(LOOK_SECONDS)
        finally:
            self._stopping = True
            with self._turn:
                self._turn.notify_all()
            for thread in threads:
                thread.join()
            self._stopping = False
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """See `Engine.close`."""
        client, self._client = self._client, None
        with suppress(*LOST):
            if self._cluster is not None:
                kill_workers(self._cluster)
            elif client is not None and client.status == "running":
                leaving = threading.Thread(target=leave, args=(client, self._name), daemon=True)
                leaving.start()
                leaving.join(CONNECT_SECONDS)  # a worker that hangs would be waited for
        for each in (client, self._cluster):
            if each is not None:
                with suppress(*LOST):
                    each.close(timeout=CONNECT_SECONDS)
        self._talks.shutdown(wait=False, cancel_futures=True)

    def _send(self, task: Task[Any]) -> _Job:
        if self._client is None and self._link is None:
            self.connect()
        self._wait_for(lambda: self._client is not None)  # while the scheduler is gone
        assert self._client is not None  # noqa: S101
        key = f"{type(task).__name__}-{uuid.uuid4().hex}"
        future = self._client.submit(perform, self._name, task, key=key, pure=False, resources={self._name: 1})
        future.add_done_callback(self._wake)
        self._sent += 1
        return _Job(task, self._client, future)

    def _drop(self, job: _Job) -> None:
        self._sent -= 1
        job.future.release()

    def _send_again(self, job: _Job) -> None:
        self._drop(job)
        again = self._send(job.task)
        job.client, job.future = again.client, again.future

    def _receive(self, job: _Job, workspace: Place) -> None:
        """The answer of a job that has ended; one that was lost, or lacked something, is sent again."""
        try:
            answer: Answer = self._aside(job.future.result)
        except KilledWorker as error:
            raise ComputeError(
                f"{error.allowed_failures + 1} workers died while they did the same task ({type(job.task).__name__}); with less "
                "memory than they need, use fewer of them on a machine"
            ) from error
        except LOST:
            if job.future.status == "error":  # what the task itself raised
                raise
            self._reach_again(job.client)
            self._send_again(job)
            return
        if answer.is_done:
            job.answer = answer
            return
        self._supply(answer, job, workspace)
        self._send_again(job)

    def _supply(self, answer: Answer, job: _Job, workspace: Place) -> None:
        """Give a worker what it lacks, unless that is on its way to it already."""
        task = job.task
        data = {(answer.worker, "data")} if answer.lacks_data else set[tuple[str, str]]()
        wanted = data | {(answer.worker, task.needs[path]) for path in answer.lacks}
        mine = wanted - self._sending
        self._sending |= mine
        client = job.client
        try:
            files = {
                path: content_of(workspace, path, digest=task.needs[path])
                for path in answer.lacks
                if (answer.worker, task.needs[path]) in mine
            }
            dataset = workspace.dataset if data & mine else None
            if not mine:
                return
            given = self._aside(
                lambda: client.run(receive, self._name, files, dataset, workers=[answer.worker], on_error="return")
            )
            failed = given.get(answer.worker)
            if isinstance(failed, OSError) and failed.errno is not None and answer.worker in workers_of(client):
                raise ComputeError(f"worker {answer.worker} cannot hold what it needs: {failed}")
        except LOST:
            self._reach_again(client)
        finally:
            self._sending -= mine
            self._turn.notify_all()
        self._wait_for(lambda: not wanted & self._sending)

    def _reach_again(self, lost: Client) -> None:
        """Connect to the scheduler that took the place of the one behind `lost`, once there is one."""
        if self._cluster is not None:
            raise ComputeError("the local scheduler was lost; the same command continues")
        if self._client is not lost:  # somebody did, or does
            self._wait_for(lambda: self._client is not None)
            return
        self._client, self._admitted = None, 0
        threading.Thread(target=lost.close, kwargs={"timeout": CONNECT_SECONDS}, daemon=True).start()
        self._reporter.note("the scheduler is gone; waiting for it, or for one that takes its place")
        while True:
            try:
                self._aside(self.connect)
            except ComputeError:
                self._turn.wait(LOOK_SECONDS)
            else:
                self._reporter.note("the scheduler is there again")
                self._turn.notify_all()
                return

    def _aside(self, talk: Callable[[], R]) -> R:
        """What `talk` returns; it takes its time, and the turn passes on."""
        future = self._talks.submit(talk)
        future.add_done_callback(self._wake)
        self._wait_for(future.done)
        return future.result()

    def _wait_for(self, happens: Callable[[], bool]) -> None:
        while not happens():
            if self._failure is not None:
                raise self._failure
            if self._stopping:
                raise _Stopped
            self._turn.wait(LOOK_SECONDS)

    def _wake(self, _: Any) -> None:
        with self._turn:
            self._turn.notify_all()

    def _watch(self, client: Client, address: str) -> None:
        """Count the workers now and then, and tell what they say, until `client` is left."""
        lonely_since, told = time.monotonic(), False
        while self._client is client:
            with suppress(Exception):  # a client that is being closed; whoever waits for a task finds out why
                admitted = sum(self._name in worker["resources"] for worker in workers_of(client).values())
                with self._turn:
                    if self._client is client and admitted != self._admitted:
                        self._admitted = admitted
                        self._turn.notify_all()
                if admitted:
                    lonely_since, told = time.monotonic(), False
            with self._turn:
                while self._events:
                    self._hear(self._events.popleft())
                if not told and time.monotonic() > lonely_since + LONELY_SECONDS:
                    told = True
                    remedy = f". On each machine: tmrepro worker {address}" if address else ""
                    self._reporter.note(f"no worker has taken part for {LONELY_SECONDS:.0f} s; still waiting{remedy}")
            time.sleep(LOOK_SECONDS)

    def _hear(self, event: Mapping[str, Any]) -> None:
        if event.get("run") != self._name or "refused" not in event:
            return
        if self._link is None:
            self._failure = ComputeError(f"worker processes cannot take part: {event['refused']}")
            self._turn.notify_all()
        else:
            self._reporter.note(f"worker {event['worker']} is refused: {event['refused']}")
