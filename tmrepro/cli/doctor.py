"""`tmrepro doctor`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmrepro.cli.run import DebugOption

if TYPE_CHECKING:
    from tmrepro.doctor import Diagnosis

PLAIN_WIDTH = 500  # of a log, which has no width of its own: each finding stays on its line
STYLES = {"ok": "green", "note": "yellow", "failed": "red"}
PROMISES = {
    "portable": "[bold green]portable[/]: a run on the CPU gives the same bytes here as on any other machine that can promise it",
    "machine": "[bold yellow]machine[/]: the same bytes on this machine; other machines will agree to rounding only",
    "nothing": "[bold red]nothing[/]: computing the fingerprint failed, or gave other bits the second time",
}


def doctor(
    *,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads a process, as compute.threads has it.")] = 2,
    folder: Annotated[
        Path | None, typer.Option(help="Where runs would be written.", show_default="the current folder")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the diagnosis as JSON.")] = False,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Say what this machine can promise, after trying it. Exit code 0: the same bits as other machines, 1: not that.

    Example: tmrepro doctor
    """
    from tmrepro.doctor import examine

    found = examine(threads=threads, folder=folder)
    if as_json:
        typer.echo(json.dumps(found.document(), indent=2))
    else:
        _show(found)
    raise typer.Exit(found.exit_code)


def _show(found: "Diagnosis") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in found.findings:
        table.add_row(finding.name, f"[{STYLES[finding.status]}]{finding.status}[/]", escape(finding.found))
    console.print(table)
    console.print(f"this machine can promise {PROMISES[found.promise]}", soft_wrap=True)
