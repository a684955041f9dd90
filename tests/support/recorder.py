"""A reporter that keeps what a run reports."""

from __future__ import annotations

from tmrepro.reporting.progress import Silent


class Recorder(Silent):
    """Keeps what a run reports, in order."""

    def __init__(self) -> None:
        self.stages: dict[str, tuple[str, str]] = {}
        self.epochs: list[tuple[str, int]] = []
        self.chunks: list[tuple[str, str, int, int]] = []
        self.notes: list[str] = []

    def stage(self, name, action, reason):
        self.stages[name] = (action, reason)

    def epoch(self, model, epoch, *, seed, max_epochs):  # noqa: ARG002
        self.epochs.append((model, epoch.epoch))

    def chunk(self, surface, model, *, points_done, points):
        self.chunks.append((surface, model, points_done, points))

    def note(self, message):
        self.notes.append(message)

    def names(self, action: str) -> set[str]:
        """Return the stages with which a run did `action`."""
        return {name for name, (found, _) in self.stages.items() if found == action}
