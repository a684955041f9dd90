"""Progress and results of a run: progress bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column, Table

from tmrepro.records import Epoch, Minimum
from tmrepro.reporting.progress import Action, Reporter, Silent
from tmrepro.store.atomic import shown

if TYPE_CHECKING:
    from tmrepro.claims import Judgement

MOST_ROWS = 24  # of a table; more rows of replicates are left out
ENOUGH_REPORTS, ENOUGH_SECONDS = 2, 5.0  # needed to estimate the remaining time
MOST_STAGES = 6  # in one line of progress
PLAIN_LINE_SECONDS = 10.0  # without a terminal, at most one line of progress in this time
# The main statistics. Headings have line breaks, so that both tables fit into 80 columns.
TABLE_STATISTICS = {
    "loss_max": "loss_max",
    "slope_at_minimum": "slope_at_\nminimum",
    "half_rise_radius": "half_rise_\nradius",
    "low_loss_fraction_1.0": "low_loss_\nfraction_1.0",
    "roughness": "roughness",
}


@contextmanager
def make_reporter(*, quiet: bool) -> Iterator[Reporter]:
    """Yield bars on a terminal, lines elsewhere, nothing with `quiet`. All output goes to standard error."""
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield Silent()
    elif console.is_terminal:
        with bars(console) as reporter:
            yield reporter
    else:
        yield _Lines()


@contextmanager
def bars(console: Console) -> Iterator[Reporter]:
    """Yield a reporter with a bar for each stage under way, on `console`. A bar is removed when its stage or the run ends."""
    progress = Progress(
        TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=10),
        TextColumn("{task.fields[detail]}", table_column=Column(no_wrap=True)),
        console=console,
        transient=True,
    )
    with progress:
        yield _Bars(progress)


def closing_table(
    run: Path,
    *,
    minima: Mapping[str, Minimum],
    statistics: Mapping[str, Mapping[str, Mapping[str, Any]]],
    claims: Judgement | None = None,
) -> None:
    """Print the results of the run, and the paths of the figures."""
    console = Console(highlight=False, markup=False)
    table = _table("network", "category", right=("epochs", "seconds", "T*", "V", "V~", "accuracy"))
    for name, found in minima.items():
        losses = (found.train_loss_at_minimum, found.validation_loss, found.relabelled_loss)
        table.add_row(
            name,
            found.category,
            str(found.epochs),
            f"{found.training_seconds:.1f}",
            *(number(value) for value in losses),
            "-" if found.validation_accuracy is None else f"{found.validation_accuracy:.1%}",
        )
    console.print(table)
    for name, found in minima.items():
        if found.category in {"none", "collapsed", "diverged"}:
            console.print(f"{name} is not a minimum: {found.reason}", soft_wrap=True)
    if statistics:
        console.print()
        surfaces = _table("surface", "network", right=tuple(TABLE_STATISTICS.values()))
        rows = [(surface, model) for surface, models in statistics.items() for model in models]
        shown = rows if len(rows) <= MOST_ROWS else [row for row in rows if not any("." in name for name in row)]
        for surface, model in shown:
            values = statistics[surface][model]
            surfaces.add_row(surface, model, *(number(values[name]) for name in TABLE_STATISTICS))
        console.print(surfaces)
        if len(shown) < len(rows):
            console.print(f"{len(rows) - len(shown)} more, of replicates: {run / 'statistics.json'}", soft_wrap=True)
    console.print(
        "T*: loss on the training part at theta*; V, accuracy: on held-out data; V~: loss on the relabelled data"
    )
    if any(found.labels == "outputs" for found in minima.values()):
        console.print(
            "numbers as targets: losses are mean squared errors, V~ is 0 by construction, and there is no accuracy"
        )
    if claims is not None:
        console.print()
        show_claims(claims, console=console)
    for name in statistics:
        if "." not in name:  # replicates have no own figures
            console.print(f"figure  {run / 'figures' / name}.png", soft_wrap=True)
    console.print(f"report  {run / 'report.html'}", soft_wrap=True)


def show_claims(claims: Judgement, *, console: Console) -> None:
    """Print the verdicts: line by line for one setting, claim x setting for several, one sentence without replicates."""
    if not claims.is_tested:
        console.print(f"claims of the paper: not judged: {claims.why_not}", soft_wrap=True)
        return
    if len(claims.settings) == 1:
        table = _table("claim", "as claimed", right=("medians", "p adjusted", "P(larger)"))
        table.add_column("verdict", overflow="fold")
        table.add_column("seeds needed", justify="right", overflow="fold")
        for line in next(iter(claims.settings.values())):
            medians = "; ".join("never" if value == math.inf else number(value) for value in line.medians)
            needed = "" if line.seeds_needed is None else str(line.seeds_needed)
            test = (number(line.deciding_p), number(line.superiority))
            table.add_row(line.id, line.comparison, medians, *test, line.verdict, needed)
    else:
        table = _table("claim", "as claimed", *claims.settings, right=())
        for lines in zip(*claims.settings.values(), strict=True):
            table.add_row(lines[0].id, lines[0].comparison, *(line.verdict for line in lines))
    console.print(table)
    for name in claims.settings:
        told = ", ".join(f"{count} {verdict}" for verdict, count in claims.counts(name))
        console.print(f"{name}: {told}", soft_wrap=True)
    for name, statement in claims.statements.items():
        console.print(f"{name} has no test. By construction: {statement['by_construction']}", soft_wrap=True)


def number(value: float | int | None) -> str:  # noqa: PYI041 - beartype requires int for counts
    """Return a number with three digits; a dash if it is undefined."""
    return "-" if value is None else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Return a duration as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Pace:
    """An estimate of the remaining time of a stage, from the progress since the first report.

    The time before the first report does not count: it may include compilation, or the progress of an interrupted run.
    """

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._reports = 0

    def left(self, done: int, total: int, *, now: float) -> str:
        """Return the time left; empty until ENOUGH_REPORTS and ENOUGH_SECONDS since the first report."""
        if self._first is None or done <= self._first[0]:
            self._first, self._reports = (done, now), 0
            return ""
        self._reports += 1
        begun, since = self._first
        if self._reports < ENOUGH_REPORTS or now - since < ENOUGH_SECONDS:
            return ""
        return duration((now - since) / (done - begun) * (total - done))


def _table(*left: str, right: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in left:
        table.add_column(heading, overflow="fold")
    for heading in right:
        table.add_column(heading, justify="right", overflow="fold")
    return table


class _Told(Silent):
    """Describes the progress of each stage and its remaining time. Subclasses show the text."""

    def __init__(self) -> None:
        self._paces: dict[str, Pace] = {}  # of the stages under way

    def stage(self, name: str, action: Action, reason: str) -> None:  # noqa: ARG002 - the subclasses show them
        if action in {"runs", "continues"}:
            self._paces[name] = Pace()

    def ended(self, name: str) -> None:
        self._paces.pop(name, None)

    def epoch(self, model: str, epoch: Epoch, *, seed: int, max_epochs: int) -> None:
        name = f"training/{model}"
        left = self._left(name, epoch.epoch, max_epochs, now=epoch.seconds)
        losses = f"T {epoch.train_loss:.3g} V {epoch.validation_loss:.3g}"
        self._tell(
            epoch.epoch,
            max_epochs,
            name=name,
            short=f"epoch {epoch.epoch}/{max_epochs} {losses}{left and f', <{left} left'}",
            long=f"epoch {epoch.epoch} of at most {max_epochs}, {losses}, seed {seed}{left and f', at most {left} left'}",
        )

    def chunk(self, surface: str, model: str, *, points_done: int, points: int) -> None:
        name = f"surface/{surface}/{model}"
        left = self._left(name, points_done, points, now=time.monotonic())
        self._tell(
            points_done,
            points,
            name=name,
            short=f"{points_done}/{points} points{left and f', {left} left'}",
            long=f"{points_done} of {points} points{left and f', {left} left'}",
        )

    def _left(self, name: str, done: int, total: int, *, now: float) -> str:
        return self._paces.setdefault(name, Pace()).left(done, total, now=now)

    def _tell(self, done: int, total: int, *, name: str, short: str, long: str) -> None:
        raise NotImplementedError


def _in_words(action: Action, reason: str) -> tuple[str, str]:
    """Return the action of a stage and its reason. The reason is empty if it is obvious."""
    return ("starting", "") if reason == "not there yet" else (action, reason)


def _harmless(text: str) -> str:
    """Return `text` without control characters. Names in an untrusted folder may contain them."""
    return "\n".join(shown(line) for line in text.split("\n"))


class _Lines(_Told):
    """Plain lines, for logs: one for each stage, and at intervals the progress of all stages under way in one line."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0
        self._latest: dict[str, str] = {}

    def stage(self, name: str, action: Action, reason: str) -> None:
        super().stage(name, action, reason)
        words, why = _in_words(action, reason)
        self._say(f"{name}: {words}{why and f' ({why})'}")
        self._next = time.monotonic() + PLAIN_LINE_SECONDS

    def ended(self, name: str) -> None:
        super().ended(name)
        self._latest.pop(name, None)

    def note(self, message: str) -> None:
        self._say(f"note: {message}")

    def _tell(self, done: int, total: int, *, name: str, short: str, long: str) -> None:  # noqa: ARG002
        self._latest[name] = short
        if time.monotonic() >= self._next:
            several = [f"{each} {self._latest[each]}" for each in self._latest][:MOST_STAGES]
            more = len(self._latest) - len(several)
            told = f"{name}: {long}" if len(self._latest) == 1 else "; ".join(several)
            self._say(f"{told}{f'; and {more} more' if more else ''}")
            self._next = time.monotonic() + PLAIN_LINE_SECONDS

    def _say(self, text: str) -> None:
        print(_harmless(text), file=sys.stderr, flush=True)  # noqa: T201


class _Bars(_Told):
    """A bar for each stage under way, a line for each stage that has begun or was done already."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def stage(self, name: str, action: Action, reason: str) -> None:
        super().stage(name, action, reason)
        style = "green" if action in {"done", "reused"} else "cyan"
        words, why = _in_words(action, reason)
        self._line(f"[{style}]{words:9}[/] {escape(name)}{why and f'  [dim]{escape(why)}[/]'}")
        if action in {"runs", "continues"}:
            self._bars[name] = self._progress.add_task(escape(name), total=None, detail="")

    def ended(self, name: str) -> None:
        super().ended(name)
        if name in self._bars:
            self._progress.remove_task(self._bars.pop(name))

    def note(self, message: str) -> None:
        self._line(f"[yellow]note[/]      {escape(message)}")

    def _tell(self, done: int, total: int, *, name: str, short: str, long: str) -> None:  # noqa: ARG002
        if name in self._bars:
            self._progress.update(self._bars[name], completed=done, total=total, detail=short)

    def _line(self, text: str) -> None:
        self._progress.console.print(_harmless(text))
