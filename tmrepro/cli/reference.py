"""`tmrepro reference build`."""

from pathlib import Path
from typing import Annotated

import typer

from tmrepro.cli.app import App
from tmrepro.cli.run import DataOption, DebugOption, QuietOption, SpecArgument, WorkersOption

reference_app = App(help="Build references, with which runs are compared.", no_args_is_help=True)


@reference_app.callback()
def _group() -> None:
    """Build references, with which runs are compared."""


@reference_app.command()
def build(
    *,
    spec: SpecArgument,
    to: Annotated[Path | None, typer.Option(help="The reference folder.", show_default="reference/NAME")] = None,
    replicates: Annotated[
        int, typer.Option(min=1, help="Number of runs for the bands, including the run of the spec's own seeds.")
    ] = 1,
    runs: Annotated[
        Path | None,
        typer.Option(help="Folder for the runs. They are kept, and continued.", show_default="runs/reference-NAME"),
    ] = None,
    data_dir: DataOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: WorkersOption = 1,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Run a spec, and replicates with other seeds, and write a reference to compare later runs with.

    Replicate r adds r to every model's training seed and 1000 r to the direction seeds. Without --replicates, the bands
    are measured over the training replicates of the spec (replicates.training), if it has any.

    Examples:
      tmrepro reference build mine.yaml --replicates 20

      tmrepro reference build spec/quickstart.yaml --replicates 20 --to paper/reference/quickstart
    """
    from tmrepro.api import build_reference
    from tmrepro.cli.display import make_reporter

    with make_reporter(quiet=quiet) as reporter:
        folder = build_reference(
            spec,
            to=to,
            replicates=replicates,
            runs=runs,
            data_dir=data_dir,
            device=device,
            workers=workers,
            reporter=reporter,
        )
    typer.echo(str(folder))
