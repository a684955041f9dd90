"""`tmrepro diff`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmrepro.cli.run import DebugOption

if TYPE_CHECKING:
    from tmrepro.comparison.runs import RunComparison

PLAIN_WIDTH = 160  # for output that is not a terminal


def diff(
    *,
    here: Annotated[Path, typer.Argument(help="A finished run folder.", metavar="RUN")],
    there: Annotated[Path, typer.Argument(help="Another finished run folder.", metavar="RUN")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Find the first difference between two finished runs: the first stage, epoch or chunk that is not bitwise identical.

    Times of day and durations are ignored. Exit code 0: identical, 1: different, 3: a run is damaged or not finished.

    Example: tmrepro diff runs/quickstart runs/again
    """
    from tmrepro.comparison.runs import compare_runs

    found = compare_runs(here, there)
    if as_json:
        typer.echo(json.dumps(found.document(), indent=2, allow_nan=False))
    else:
        _show(found)
    raise typer.Exit(found.exit_code)


def _show(found: "RunComparison") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    table = Table(box=None, pad_edge=False)
    for heading in ("stage", "", "first difference", "here", "there"):
        table.add_column(heading, overflow="fold")
    for stage in found.stages:
        if stage.difference is None:
            table.add_row(escape(stage.stage), "[green]same[/]", "", "", "")
        else:
            cells = (stage.difference.what, stage.difference.here, stage.difference.there)
            table.add_row(escape(stage.stage), "[red]differs[/]", *(escape(words) for words in cells))
    console.print(table)
    console.print(f"here {escape(found.here)}, there {escape(found.there)}", soft_wrap=True)
    if found.first is None:
        console.print("[bold green]SAME[/]: bitwise identical, except for times", soft_wrap=True)
        return
    told = f"{found.first.stage}, {found.first.difference}"
    console.print(f"[bold red]DIFFERENT[/], first in {escape(told)}", soft_wrap=True)
    for reason in found.reasons:
        console.print(f"likely reason: {escape(reason)}", soft_wrap=True)
    if found.first.stage == "spec":
        console.print("the specs differ, so the numbers are expected to differ", soft_wrap=True)
    elif not found.reasons:
        console.print(
            "code, packages, machines and arithmetic are the same, so the runs should be bitwise identical",
            soft_wrap=True,
        )
