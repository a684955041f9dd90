"""`tmrepro new`."""

from pathlib import Path
from typing import Annotated

import typer

from tmrepro.cli.run import DebugOption


def new(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the spec.", show_default=True)] = "mine",
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Write a first spec into the current folder: NAME.yaml, a network (model_NAME.py) and data (NAME.npz).

    They run in seconds without changes. Then replace the network and the data with your own. Existing files are not overwritten.

    Examples:
      tmrepro new

      tmrepro new spirals, then tmrepro run spirals.yaml
    """
    from tmrepro.api.starter import write_starter

    spec, model, data = write_starter(name, folder=Path())
    typer.echo(f"{spec}  the spec: what is computed\n{model}  the network\n{data}  the data\n")
    typer.echo(f"next: tmrepro run {spec}")
