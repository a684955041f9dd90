"""`tmrepro view`."""

from pathlib import Path
from typing import Annotated

import typer

from tmrepro.cli.inspect import RunArgument
from tmrepro.cli.run import DebugOption


def view(
    *,
    run: RunArgument,
    to: Annotated[Path | None, typer.Option(help="Where to write the page.", show_default="NAME-view.html")] = None,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Write a page to explore the surfaces of a finished run or a reference: one HTML file that needs no network.

    Surfaces can be turned; a cursor on the map shows a, b, loss and accuracy as they are stored.

    Examples:
      tmrepro view runs/quickstart

      tmrepro view paper/reference/paper-gpu --to paper.html
    """
    from tmrepro.explore import write_view

    typer.echo(str(write_view(run, to=to)))
