"""What a person sees while a run works, and after it: rich bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tmrepro.progress import Action, Reporter, Silent
from tmrepro.records import Epoch, Minimum

PLAIN_LINE_SECONDS = 10.0  # without a terminal, at most one line of progress in this time
TABLE_STATISTICS = ("loss_max", "half_rise_radius", "low_loss_fraction_1.0", "roughness")


@contextmanager
def make_reporter(*, quiet: bool) -> Iterator[Reporter]:
    """Bars on a terminal, lines elsewhere, nothing with `quiet`. All of it goes to standard error."""
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield Silent()
    elif console.is_terminal:
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        with progress:
            yield _Bars(progress)
    else:
        yield _Lines()


def closing_table(
    run: Path, *, minima: Mapping[str, Minimum], statistics: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> None:
    """Print what the run found, and where the figures are."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    table = Table(title="Minima", title_justify="left")
    for heading in ("network", "category", "epochs", "seconds", "T*", "V", "V~", "held-out accuracy", "||theta*||"):
        table.add_column(heading, justify="left" if heading in {"network", "category"} else "right")
    for name, found in minima.items():
        table.add_row(
            name,
            found.category if found.category != "none" else "none (not a minimum)",
            str(found.epochs),
            f"{found.training_seconds:.1f}",
            *(number(value) for value in (found.train_loss_at_minimum, found.validation_loss, found.relabelled_loss)),
            f"{found.validation_accuracy:.1%}",
            number(found.theta_norm),
        )
    console.print(table)
    surfaces = Table(title="Surfaces", title_justify="left")
    for heading in ("surface", "network", *TABLE_STATISTICS):
        surfaces.add_column(heading, justify="left" if heading in {"surface", "network"} else "right")
    for surface, models in statistics.items():
        for model, values in models.items():
            surfaces.add_row(surface, model, *(number(values[name]) for name in TABLE_STATISTICS))
    console.print(surfaces)
    for name in statistics:
        console.print(f"figure  {run / 'figures' / name}.png", soft_wrap=True)
    console.print(f"report  {run / 'report.html'}", soft_wrap=True)


def number(value: float | None) -> str:
    """Three digits; a dash for what is undefined."""
    return "-" if value is None else f"{value:.3g}"


class _Lines(Silent):
    """Plain lines, for logs: every stage, and now and then how far it is."""

    def __init__(self) -> None:
        self._next = 0.0
        self._began = time.monotonic()

    def stage(self, name: str, action: Action, reason: str) -> None:
        self._say(f"{name}: {action} ({reason})")
        self._began = time.monotonic()
        self._next = self._began + PLAIN_LINE_SECONDS

    def epoch(self, model: str, epoch: Epoch, *, seed: int, max_epochs: int) -> None:
        left = epoch.seconds / epoch.epoch * (max_epochs - epoch.epoch)
        self._now_and_then(
            f"training {model}: {epoch_detail(epoch, seed=seed, max_epochs=max_epochs)}, {duration(left)} left at most"
        )

    def chunk(self, surface: str, model: str, *, points_done: int, points: int) -> None:
        spent = time.monotonic() - self._began
        left = f", about {duration(spent / points_done * (points - points_done))} left" if points_done else ""
        self._now_and_then(f"surface {surface} of {model}: {points_done} of {points} points{left}")

    def note(self, message: str) -> None:
        self._say(f"note: {message}")

    def _now_and_then(self, text: str) -> None:
        if time.monotonic() >= self._next:
            self._say(text)
            self._next = time.monotonic() + PLAIN_LINE_SECONDS

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)  # noqa: T201


class _Bars(Silent):
    """A bar for the stage under way, a line for each that is over."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None
        self._name = ""

    def stage(self, name: str, action: Action, reason: str) -> None:
        self._finish()
        if action in {"done", "reused"}:
            self._progress.console.print(f"[green]{action:9}[/] {name}  [dim]{_escape(reason)}[/]")
            return
        self._name = name
        self._progress.console.print(f"[cyan]{action:9}[/] {name}  [dim]{_escape(reason)}[/]")
        self._task = self._progress.add_task(name, total=None, detail="")

    def epoch(self, model: str, epoch: Epoch, *, seed: int, max_epochs: int) -> None:  # noqa: ARG002
        self._update(epoch.epoch, max_epochs, epoch_detail(epoch, seed=seed, max_epochs=max_epochs))

    def chunk(self, surface: str, model: str, *, points_done: int, points: int) -> None:  # noqa: ARG002
        self._update(points_done, points, f"{points_done} of {points} points")

    def note(self, message: str) -> None:
        self._progress.console.print(f"[yellow]note[/]      {_escape(message)}")

    def _update(self, completed: int, total: int, detail: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=completed, total=total, detail=detail)

    def _finish(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


def epoch_detail(epoch: Epoch, *, seed: int, max_epochs: int) -> str:
    """An epoch in a line."""
    return f"epoch {epoch.epoch} of at most {max_epochs}, T {epoch.train_loss:.3g}, V {epoch.validation_loss:.3g}, seed {seed}"


def duration(seconds: float) -> str:
    """1:02:03, or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
