"""`tmrepro doctor`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmrepro.cli.run import DebugOption

if TYPE_CHECKING:
    from tmrepro.api.doctor import Diagnosis

PLAIN_WIDTH = 500  # for output that is not a terminal: each finding is one line
STYLES = {"ok": "green", "note": "yellow", "failed": "red"}
PROMISES = {
    "portable": "[bold green]portable[/]: a run on the CPU is bitwise identical here and on every other portable machine",
    "machine": "[bold yellow]machine[/]: runs are bitwise identical on this machine; other machines agree within rounding only",
    "nothing": "[bold red]nothing[/]: computing the fingerprint failed, or repeating it gave different bits",
}


def doctor(
    *,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads per process, like compute.threads.")] = 2,
    folder: Annotated[
        Path | None, typer.Option(help="The folder to write runs to.", show_default="the current folder")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the diagnosis as JSON.")] = False,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Test which level of determinism this machine supports. Exit code 0: portable, 1: less.

    Example: tmrepro doctor
    """
    from tmrepro.api.doctor import examine

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
    console.print(f"this machine supports {PROMISES[found.promise]}", soft_wrap=True)
