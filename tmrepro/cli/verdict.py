"""A verdict on the terminal and in files, for every command that comes to one."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tmrepro.cli.styles import PLAIN_WIDTH, STYLES

if TYPE_CHECKING:
    from tmrepro.verify import Verdict


def show_verdict(verdict: "Verdict") -> None:
    """Print every check, and the verdict last."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    table = Table(box=None, pad_edge=False)
    for heading in ("level", "subject", "grade", "found"):
        table.add_column(heading, overflow="fold")
    for check in verdict.checks:
        style = STYLES[check.grade]
        found = check.detail if check.against == "itself" else f"{check.against}: {check.detail}"
        table.add_row(check.level, escape(check.subject), f"[{style}]{check.grade}[/]", escape(found))
    console.print(table)
    for note in verdict.notes:
        console.print(f"note: {escape(note)}", soft_wrap=True)
    for warning in verdict.warnings:
        console.print(f"[bold yellow]WARNING[/]: {escape(warning)}", soft_wrap=True)
    word, rest = verdict.headline.split(":", maxsplit=1)
    console.print(f"[bold {STYLES[verdict.grade]}]{word}[/]:{escape(rest)}", soft_wrap=True)


def write_verdict(verdict: "Verdict", *, junit: Path | None, html: Path | None) -> None:
    """Write the files that were asked for."""
    if junit is not None:
        from tmrepro.verify.output import write_junit

        write_junit(verdict, junit)
    if html is not None:
        from tmrepro.verify.page import write_page

        write_page(verdict, html)
