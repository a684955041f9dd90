"""What a long computation tells whoever watches it. `cli` shows it; from Python a notebook alone does, unless asked."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol, runtime_checkable

from tmrepro.records import Epoch

Action = Literal["runs", "continues", "done", "reused"]


@runtime_checkable
class Reporter(Protocol):
    """Receives what happens, in order. Nothing it does can change a result."""

    def stage(self, name: str, action: Action, reason: str) -> None:
        """A stage starts, continues, was done already, or is taken over from another run; `reason` says why."""
        ...

    def ended(self, name: str) -> None:
        """A stage that started or continued has ended. With several workers, several are under way."""
        ...

    def epoch(self, model: str, epoch: Epoch, *, seed: int, max_epochs: int) -> None:
        """An epoch of training has ended."""
        ...

    def chunk(self, surface: str, model: str, *, points_done: int, points: int) -> None:
        """A chunk of a surface is stored; counts are grid points of this surface and model."""
        ...

    def note(self, message: str) -> None:
        """Something the reader of the result should know."""
        ...


class Silent:
    """Shows nothing."""

    def stage(self, name: str, action: Action, reason: str) -> None:
        """See `Reporter.stage`."""

    def ended(self, name: str) -> None:
        """See `Reporter.ended`."""

    def epoch(self, model: str, epoch: Epoch, *, seed: int, max_epochs: int) -> None:
        """See `Reporter.epoch`."""

    def chunk(self, surface: str, model: str, *, points_done: int, points: int) -> None:
        """See `Reporter.chunk`."""

    def note(self, message: str) -> None:
        """See `Reporter.note`."""


FIRST_LINE_SECONDS = 10.0  # of a stage, after the line that says that it starts
LONGEST_SILENCE_SECONDS = 300.0


class Lines:
    """Plain lines on standard output: one for each stage and note, and now and then how far a stage is.

    After ten seconds, then after twice as long each time, up to five minutes: a run of hours does not fill a notebook. Needs
    neither a terminal nor widgets.
    """

    def __init__(self) -> None:
        self._pause = FIRST_LINE_SECONDS
        self._next = 0.0

    def stage(self, name: str, action: Action, reason: str) -> None:
        """See `Reporter.stage`."""
        self._say(f"{name}: {action} ({reason})")
        self._pause = FIRST_LINE_SECONDS
        self._next = time.monotonic() + self._pause

    def ended(self, name: str) -> None:
        """See `Reporter.ended`."""

    def epoch(self, model: str, epoch: Epoch, *, seed: int, max_epochs: int) -> None:
        """See `Reporter.epoch`."""
        losses = f"T {epoch.train_loss:.3g}, V {epoch.validation_loss:.3g}"
        self._say_now_and_then(f"training/{model}: epoch {epoch.epoch} of at most {max_epochs}, {losses}, seed {seed}")

    def chunk(self, surface: str, model: str, *, points_done: int, points: int) -> None:
        """See `Reporter.chunk`."""
        self._say_now_and_then(f"surface/{surface}/{model}: {points_done} of {points} points")

    def note(self, message: str) -> None:
        """See `Reporter.note`."""
        self._say(f"note: {message}")

    def _say_now_and_then(self, text: str) -> None:
        if time.monotonic() >= self._next:
            self._say(text)
            self._pause = min(2 * self._pause, LONGEST_SILENCE_SECONDS)
            self._next = time.monotonic() + self._pause

    def _say(self, text: str) -> None:
        harmless = "".join(one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in text)
        print(harmless, flush=True)  # noqa: T201 - what it is for


@contextmanager
def under_way(reporter: Reporter, name: str, reason: str) -> Iterator[None]:
    """A stage that runs as long as the block; its end is told whatever happens."""
    reporter.stage(name, "runs", reason)
    try:
        yield
    finally:
        reporter.ended(name)


def default_reporter() -> Reporter:
    """`Lines` in a notebook, where nobody would see anything else; silence elsewhere."""
    return Lines() if in_notebook() else Silent()


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook (Jupyter, Colab, an editor); IPython at a terminal has none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return shell is not None and getattr(shell, "kernel", None) is not None
