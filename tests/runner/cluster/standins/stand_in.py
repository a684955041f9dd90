"""A run that asks nothing of its workers, which need no torch for it; and tasks that do to them what a task can do."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tmrepro.errors import ComputeError
from tmrepro.runner.cluster import Task

Needs = dict[str, str]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Run:
    """A folder that no task reads."""

    run: Path = Path()
    dataset: str = "data"


@dataclass(frozen=True)
class Setup:
    key: str = "stand-in"
    dies: bool = False

    def prepare(self) -> None:
        if self.dies:
            die()

    def own_data(self) -> None:
        return None

    def open(self, dataset: str) -> Run:
        return Run(dataset=dataset)

    def begin(self) -> None:
        pass

    def at(self, workspace: Run, run: Path) -> Run:
        return Run(run, workspace.dataset)


@dataclass(frozen=True, kw_only=True)
class Chunk(Task[np.ndarray]):
    """A chunk of 8 x 8 points whose value is its number."""

    number: int
    needs: Needs = field(default_factory=dict)

    def compute(self, workspace: Run) -> np.ndarray:  # noqa: ARG002
        return np.full((8, 8), float(self.number))


@dataclass(frozen=True, kw_only=True)
class Die(Task[str]):
    """The worker dies, unless another one has met this task before."""

    once: Path | None = None
    needs: Needs = field(default_factory=dict)

    def compute(self, workspace: Run) -> str:  # noqa: ARG002
        if self.once is None or not self.once.exists():
            if self.once is not None:
                self.once.touch()
            die()
        return "done elsewhere"


class AwkwardError(Exception):
    """Holds what no pickle can carry, and cannot be made again from its arguments."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")
        self.lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Fail(Task[None]):
    """What a user's network raised, in words of ours or as it is."""

    in_words: bool
    needs: Needs = field(default_factory=dict)

    def compute(self, workspace: Any) -> None:
        if not self.in_words:
            raise AwkwardError(1, 2)
        try:
            Fail(in_words=False).compute(workspace)
        except AwkwardError as error:
            raise ComputeError(f"the network failed: {error}") from error
