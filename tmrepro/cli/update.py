"""`tmrepro verify --update`: shows what replacing the reference by a run changes, and asks whether to do it."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tmrepro.cli.styles import PLAIN_WIDTH, STYLES
from tmrepro.errors import UsageError

if TYPE_CHECKING:
    from tmrepro.verification.update import Update


def check_asking(*, yes: bool) -> None:
    """Raise UsageError unless there is a terminal for the question, or `yes`. Call this before the run, which takes hours.

    Raises:
        UsageError: there is no terminal.
    """
    if not yes and not sys.stdin.isatty():
        raise UsageError("--update asks before it replaces a reference, but there is no terminal: add --yes")


def make_confirm(*, yes: bool, quiet: bool) -> Callable[["Update"], bool]:
    """Return a function that shows the changes on standard error and asks. With `yes` it does not ask."""

    def confirm(update: "Update") -> bool:
        if not (yes and quiet):
            _show_changes(update)
        return yes or _ask(f"Replace the reference {update.to}?")

    return confirm


def tell_outcome(update: "Update", *, accepted: bool, quiet: bool) -> int:
    """Print the outcome on standard error. Return the exit code."""
    if update.refusal is not None:
        typer.echo(f"refused: {update.refusal}", err=True)
        return update.verdict.exit_code
    if accepted or not update.changes:
        if not quiet:
            what = "replaced" if accepted else "already equals this run: nothing to replace"
            typer.echo(f"reference {update.to} {what}", err=True)
        return 0
    typer.echo(f"reference {update.to} is unchanged", err=True)
    return update.verdict.exit_code


def _ask(question: str) -> bool:
    try:
        return typer.confirm(question, default=False, err=True)
    except typer.Abort:  # the end of the input means no
        typer.echo(err=True)
        return False


def _show_changes(update: "Update") -> None:
    console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else PLAIN_WIDTH)
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "reference now", "after the update", "grade"):
        table.add_column(heading, overflow="fold")
    for change in update.changes:
        grade = f"[{STYLES[change.grade]}]{change.grade}[/]"
        table.add_row(escape(change.what), escape(change.now), escape(change.after), grade)
    console.print(table)
    for remark in update.remarks:
        console.print(f"note: {escape(remark)}", soft_wrap=True)
