"""The threads of the stages. Only the thread that has the turn runs.

A stage passes the turn on only while it waits. So the stages' work here (files, records, progress) runs as in one thread and
needs no locks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tmrepro.runner.cluster.tasks import Stage

R = TypeVar("R")

LOOK_SECONDS = 1.0  # between two checks of a condition, if no thread signals it
TALKS = 64  # calls under way at once


class _Stopped(BaseException):
    """Ends a waiting stage, because the run ends."""


class Turns:
    """The turn. `with turns:` takes it, and `wait_for` passes it on until a condition holds."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._talks = ThreadPoolExecutor(TALKS, thread_name_prefix="tmrepro-talk")
        self._failure: BaseException | None = None
        self._stopping = False

    def __enter__(self) -> None:
        self._turn.acquire()

    def __exit__(self, *_: object) -> None:
        self._turn.release()

    def graph(self, stages: Sequence[Stage], *, at_once: Callable[[], int]) -> None:
        """Run all stages, each after those that it names, in the given order, and at most `at_once()` at a time.

        Raises:
            BaseException: the error of the first stage that failed, raised after all others have stopped.
        """
        waiting, ended, threads = list(stages), set[str](), list[threading.Thread]()

        def run(stage: Stage) -> None:
            with self:
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
                    self.wake()

        try:
            with self:
                while len(ended) < len(stages) and not self._stopping:
                    for stage in [stage for stage in waiting if ended.issuperset(stage.after)]:
                        if len(threads) - len(ended) >= at_once():
                            break
                        waiting.remove(stage)
                        threads.append(threading.Thread(target=run, args=(stage,), name=stage.name, daemon=True))
                        threads[-1].start()
                    self._turn.wait(LOOK_SECONDS)
        finally:
            self._stopping = True
            self.wake()
            for thread in threads:
                thread.join()
            self._stopping = False
        if self._failure is not None:
            raise self._failure

    def fail(self, error: BaseException) -> None:
        """Raise `error` in every thread that waits, now or later."""
        self._failure = error
        self.wake()

    def wait_for(self, happens: Callable[[], bool]) -> None:
        """Pass the turn on until `happens` returns True."""
        while not happens():
            if self._failure is not None:
                raise self._failure
            if self._stopping:
                raise _Stopped
            self._turn.wait(LOOK_SECONDS)

    def pause(self) -> None:
        """Pass the turn on for a moment."""
        self._turn.wait(LOOK_SECONDS)

    def aside(self, talk: Callable[[], R]) -> R:
        """Call `talk` in another thread, pass the turn on meanwhile, and return its result."""
        future = self._talks.submit(talk)
        future.add_done_callback(self.wake)
        self.wait_for(future.done)
        return future.result()

    def wake(self, _: Any = None) -> None:
        """Wake all waiting threads, so that they check their conditions."""
        with self:
            self._turn.notify_all()

    def close(self) -> None:
        """Start no more calls."""
        self._talks.shutdown(wait=False, cancel_futures=True)
