"""Shows a verdict on the terminal, and writes it to files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tmrepro.cli.styles import PLAIN_WIDTH, STYLES, terminal_width

if TYPE_CHECKING:
    from rich.console import Console

    from tmrepro.verification import Check, Verdict

NARROW = 100  # columns; below it, a table of four columns would not fit


def show_verdict(verdict: "Verdict") -> None:
    """Print every check, then the verdict. Wrap lines by words on a terminal."""
    from rich.console import Console
    from rich.markup import escape

    width = terminal_width()
    console = Console(highlight=False, width=width or PLAIN_WIDTH)
    _show_checks(verdict.checks, console)
    for note in verdict.notes:
        console.print(f"note: {escape(note)}", soft_wrap=width is None)
    for warning in verdict.warnings:
        console.print(f"[bold yellow]WARNING[/]: {escape(warning)}", soft_wrap=width is None)
    rest = verdict.headline.removeprefix(verdict.word)
    console.print(f"[bold {STYLES[verdict.grade]}]{verdict.word}[/]{escape(rest)}", soft_wrap=width is None)


def _show_checks(checks: "Sequence[Check]", console: "Console") -> None:
    """Print one row for each check. On a narrow terminal, print two rows below the name of the level."""
    from rich.markup import escape
    from rich.table import Table

    is_narrow = console.width < NARROW
    table = Table(box=None, pad_edge=False, show_header=not is_narrow)
    if not is_narrow:
        table.add_column("level", no_wrap=True)
        table.add_column("subject", overflow="fold")
    table.add_column("grade", no_wrap=True)
    table.add_column("found", overflow="fold")
    level = None
    for check in checks:
        grade = f"[{STYLES[check.grade]}]{check.grade}[/]"
        found = escape(check.detail if check.against == "itself" else f"{check.against}: {check.detail}")
        if not is_narrow:
            table.add_row(check.level, escape(check.subject), grade, found)
            continue
        if check.level != level:
            level = check.level
            table.add_row(f"[bold]{level}[/]", "")
        table.add_row(grade, escape(check.subject))
        table.add_row("", f"[dim]{found}[/]")
    console.print(table)


def write_verdict(verdict: "Verdict", *, junit: Path | None, html: Path | None) -> None:
    """Write the requested files."""
    if junit is not None:
        from tmrepro.verification.junit import write_junit

        write_junit(verdict, junit)
    if html is not None:
        from tmrepro.verification.page import write_page

        write_page(verdict, html)
