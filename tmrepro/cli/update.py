"""`tmrepro verify --update`: what taking a run as the reference would change, and the question whether to."""

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
    from tmrepro.verify.update import Update


def check_asking(*, yes: bool) -> None:
    """Nothing, if somebody can be asked or need not be: found out before hours are spent on a run.

    Raises:
        UsageError: there is no terminal.
    """
    if not yes and not sys.stdin.isatty():
        raise UsageError("--update asks before it replaces a reference, and there is no terminal to ask: add --yes")


def make_confirm(*, yes: bool, quiet: bool) -> Callable[["Update"], bool]:
    """Shows what changes, on standard error, and asks; with `yes` only shows."""

    def confirm(update: "Update") -> bool:
        if not (yes and quiet):
            _show_changes(update)
        return yes or _ask(f"Replace the reference {update.to}?")

    return confirm


def tell_outcome(update: "Update", *, accepted: bool, quiet: bool) -> int:
    """Say how it ended, on standard error; returns the exit code."""
    if update.refusal is not None:
        typer.echo(f"refused: {update.refusal}", err=True)
        return update.verdict.exit_code
    if accepted or not update.changes:
        if not quiet:
            what = "replaced" if accepted else "is this run already: nothing to replace"
            typer.echo(f"reference {update.to} {what}", err=True)
        return 0
    typer.echo(f"reference {update.to} stays as it is", err=True)
    return update.verdict.exit_code


def _ask(question: str) -> bool:
    try:
        return typer.confirm(question, default=False, err=True)
    except typer.Abort:  # the end of the input is no yes
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
