"""What a long computation tells whoever watches it. `cli` shows it; the library is silent by default."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

from tmrepro.records import Epoch

Action = Literal["runs", "continues", "done", "reused"]


@runtime_checkable
class Reporter(Protocol):
    """Receives what happens, in order. Nothing it does can change a result."""

    def stage(self, name: str, action: Action, reason: str) -> None:
        """A stage starts, continues, was done already, or is taken over from another run; `reason` says why."""
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

    def epoch(self, model: str, epoch: Epoch, *, seed: int, max_epochs: int) -> None:
        """See `Reporter.epoch`."""

    def chunk(self, surface: str, model: str, *, points_done: int, points: int) -> None:
        """See `Reporter.chunk`."""

    def note(self, message: str) -> None:
        """See `Reporter.note`."""
