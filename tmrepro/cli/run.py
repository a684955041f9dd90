"""`tmrepro run`."""

from pathlib import Path
from typing import Annotated

import typer

SpecArgument = Annotated[
    Path,
    typer.Argument(
        metavar="SPEC",
        help="The spec, a YAML file. The shipped ones (spec/quickstart.yaml, ...) are found anywhere.",
        show_default=False,
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Folder of CIFAR-10, of pictures, or of the spec's file of arrays; else TMREPRO_DATA, else what the spec says.",
        show_default=False,
    ),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")]


def run(
    *,
    spec: SpecArgument,
    out: Annotated[Path | None, typer.Option(help="The run folder.", show_default="runs/NAME")] = None,
    data_dir: DataOption = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch CIFAR-10 into the data folder if need be.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Processes that evaluate surfaces.")] = 1,
    reuse: Annotated[Path | None, typer.Option(help="Take over from this run folder whatever still holds.")] = None,
    evaluator: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How surfaces are evaluated, instead of by rule; 'plain' is the definition itself.",
            show_default="by rule",
        ),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Draw each surface early, from the points that there are, and say where.")
    ] = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Run a spec: train, find minima, evaluate surfaces, draw figures. Continues what was interrupted.

    Examples:
      tmrepro run spec/quickstart.yaml

      tmrepro run spec/paper.yaml --data-dir ~/data --download --device cuda

      tmrepro run mine.yaml --out runs/finer --reuse runs/mine

      tmrepro new spirals, then tmrepro run spirals.yaml
    """
    from tmrepro.api import run as run_spec
    from tmrepro.cli.display import closing_table, make_reporter

    with make_reporter(quiet=quiet) as reporter:
        result = run_spec(
            spec,
            out=out,
            data_dir=data_dir,
            download=download,
            device=device,
            workers=workers,
            reuse=reuse,
            evaluator=evaluator,
            preview=preview,
            reporter=reporter,
        )
    if quiet:
        return
    if result.already_complete:
        typer.echo(f"{result.run} is complete and its bytes are what its manifest says: nothing to do\n")
    closing_table(result.run, minima=result.minima, statistics=result.statistics, claims=result.claims)
