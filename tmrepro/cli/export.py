"""`tmrepro export`."""

from pathlib import Path
from typing import Annotated

import typer

from tmrepro.cli.inspect import RunArgument
from tmrepro.cli.run import DebugOption


def export(
    *,
    run: RunArgument,
    to: Annotated[
        str,
        typer.Option(metavar="FORMAT", help="netcdf, vtk (ParaView), csv, or bagit (archives).", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="A new file (netcdf) or folder. It must not exist.", show_default="NAME.nc, NAME-FORMAT"),
    ] = None,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Write a finished run or a reference in a format that other tools open.

    Exported numbers are bitwise identical to the stored ones. docs/how-to/export.md describes the formats.

    Examples:
      tmrepro export runs/quickstart --to netcdf

      tmrepro export paper/reference/paper-gpu --to vtk --out paraview
    """
    from tmrepro.reporting.export import export_run

    typer.echo(str(export_run(run, to=to, out=out)))
