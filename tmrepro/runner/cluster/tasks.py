"""Tasks, which a worker can do; stages, which use tasks; and the engine of a run in one process, which does both in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

R = TypeVar("R")


@runtime_checkable
class Place(Protocol):
    """What the engine must know of a workspace: the folder with a task's files, and the data."""

    @property
    def run(self) -> Path:
        """The folder."""
        ...

    @property
    def dataset(self) -> Any:
        """The data, which are sent to workers that lack them."""
        ...


@dataclass(frozen=True, kw_only=True)
class Task(ABC, Generic[R]):
    """A piece of work that any process can do, any number of times, with the same result.

    `needs` are the files of the run folder that it reads: relative path -> SHA-256.
    """

    needs: Mapping[str, str]

    @abstractmethod
    def compute(self, workspace: Any) -> R:
        """Do the task, with the files of `needs` under `workspace.run`, and return its result."""

    def to_hold(self, result: R) -> Iterable[bytes]:  # noqa: ARG002
        """Return contents of files made by this task, which the worker keeps for the next task."""
        return ()


@dataclass(frozen=True)
class Stage:
    """A stage of a run. It may begin when the stages named in `after` have ended."""

    name: str
    after: tuple[str, ...]
    run: Callable[[], None]


@runtime_checkable
class Engine(Protocol):
    """Does tasks, in this process or elsewhere."""

    in_process: bool

    def call(self, task: Task[R], workspace: Place) -> R:
        """Do one task, and return its result."""
        ...

    def each(self, tasks: Iterable[Task[R]], workspace: Place) -> Generator[R, None, None]:
        """Yield the result of each task as soon as it is there, in any order. Closing the generator cancels tasks under way."""
        ...

    def graph(self, stages: Sequence[Stage]) -> None:
        """Run all stages, each after those that it names. `stages` are in a valid order. The first error ends all."""
        ...

    def close(self) -> None:
        """Leave the workers at once."""
        ...


class InProcess:
    """Does one task after the other, in this process."""

    in_process = True

    def call(self, task: Task[R], workspace: Place) -> R:
        """See `Engine.call`."""
        return task.compute(workspace)

    def each(self, tasks: Iterable[Task[R]], workspace: Place) -> Generator[R, None, None]:
        """See `Engine.each`."""
        for task in tasks:
            yield task.compute(workspace)

    def graph(self, stages: Sequence[Stage]) -> None:
        """See `Engine.graph`."""
        for stage in stages:
            stage.run()

    def close(self) -> None:
        """See `Engine.close`."""
