"""`tmrepro view`."""

from pathlib import Path
from typing import Annotated

import typer

from tmrepro.cli.inspect import RunArgument
from tmrepro.cli.run import DebugOption


def view(
    *,
    run: RunArgument,
    to: Annotated[Path | None, typer.Option(help="File for the page.", show_default="NAME-view.html")] = None,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Write an interactive page with the surfaces of a finished run or a reference: one HTML file that needs no network.

    You can rotate the surfaces. A cursor on the map shows the stored values of a, b, loss and accuracy.

    Examples:
      tmrepro view runs/quickstart

      tmrepro view paper/reference/paper-gpu --to paper.html
    """
    from tmrepro.reporting.explore import write_view

    typer.echo(str(write_view(run, to=to)))
