"""Progress of a long computation. `cli` shows it. In Python, the default shows it only in a notebook."""

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
    """Receives events in order. It cannot change a result."""

    def stage(self, name: str, action: Action, reason: str) -> None:
        """Report that a stage starts, continues, was done already, or is reused from another run; `reason` says why."""
        ...

    def ended(self, name: str) -> None:
        """Report the end of a stage that started or continued. With several workers, several stages are under way."""
        ...

    def epoch(self, model: str, epoch: Epoch, *, seed: int, max_epochs: int) -> None:
        """Report the end of an epoch of training."""
        ...

    def chunk(self, surface: str, model: str, *, points_done: int, points: int) -> None:
        """Report that a chunk of a surface is stored. Counts are grid points of this surface and model."""
        ...

    def note(self, message: str) -> None:
        """Report a message for the reader of the result."""
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


FIRST_LINE_SECONDS = 10.0  # from the start of a stage to its first line of progress
LONGEST_SILENCE_SECONDS = 300.0


class Lines:
    """Plain lines on standard output: one for each stage and note, and the progress of a stage at intervals.

    The first interval is ten seconds. Each is twice as long as the one before, up to five minutes, so that a run of hours does
    not fill a notebook. Lines need neither a terminal nor widgets.
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
        print(harmless, flush=True)  # noqa: T201 - the purpose of this class


@contextmanager
def under_way(reporter: Reporter, name: str, reason: str) -> Iterator[None]:
    """Report a stage that starts and ends with the block, also on an error."""
    reporter.stage(name, "runs", reason)
    try:
        yield
    finally:
        reporter.ended(name)


def default_reporter() -> Reporter:
    """Return `Lines` in a notebook, where other output would not be seen; `Silent` elsewhere."""
    return Lines() if in_notebook() else Silent()


def in_notebook() -> bool:
    """Return whether this is the kernel of a notebook (Jupyter, Colab, an editor). IPython at a terminal is not."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return shell is not None and getattr(shell, "kernel", None) is not None
