"""`tmrepro run`."""

from pathlib import Path
from typing import Annotated

import typer

from tmrepro.cli.worker import SchedulerFileOption, TlsCaOption, TlsCertOption, TlsKeyOption

SpecArgument = Annotated[
    Path,
    typer.Argument(
        metavar="SPEC",
        help="The spec, a YAML file. The shipped specs (spec/quickstart.yaml, ...) are found from any folder.",
        show_default=False,
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Folder of CIFAR-10, of pictures, or of the spec's file of arrays. Default: TMREPRO_DATA, then the spec's path.",
        show_default=False,
    ),
]
WorkersOption = Annotated[
    int, typer.Option(min=1, help="Number of processes that train and evaluate, each with compute.threads threads.")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(help="Compute with the workers of this Dask scheduler (docs/scale.md).", show_default=False),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show only errors.")]


def run(
    *,
    spec: SpecArgument,
    out: Annotated[Path | None, typer.Option(help="The run folder.", show_default="runs/NAME")] = None,
    data_dir: DataOption = None,
    download: Annotated[
        bool, typer.Option("--download", help="Download CIFAR-10 into the data folder if it is missing.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    scheduler_file: SchedulerFileOption = None,
    tls_ca: TlsCaOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Reuse what is still valid in this run folder. May be repeated."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK",
            help="Train only this network (cnn, or cnn.r1 for a replicate) and evaluate its surfaces. May be repeated.",
            show_default="all",
        ),
    ] = None,
    evaluator: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Use this evaluator for all surfaces. 'plain' computes the definition.",
            show_default="by rule",
        ),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Draw a preview of each surface while it is computed, and print its path.")
    ] = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Run a spec: train, find minima, evaluate surfaces, draw figures. Continue an interrupted run.

    Examples:
      tmrepro run spec/quickstart.yaml

      tmrepro run spec/paper.yaml --data-dir ~/data --download --device cuda

      tmrepro run mine.yaml --out runs/finer --reuse runs/mine

      tmrepro new spirals, then tmrepro run spirals.yaml

    Compute parts of a run, in parallel or on several machines, and then combine them:
      tmrepro run mine.yaml --only cnn --out runs/part1
      tmrepro run mine.yaml --only resnet50 --out runs/part2
      tmrepro run mine.yaml --reuse runs/part1 --reuse runs/part2
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
            scheduler=scheduler,
            scheduler_file=scheduler_file,
            tls_ca=tls_ca,
            tls_cert=tls_cert,
            tls_key=tls_key,
            reuse=reuse or [],
            only=only or [],
            evaluator=evaluator,
            preview=preview,
            reporter=reporter,
        )
    if quiet:
        return
    if result.already_complete:
        typer.echo(f"{result.run} is complete and matches its manifest: nothing to do\n")
    if result.missing:
        typer.echo(
            f"{result.run} has {', '.join(result.minima)}, but lacks {', '.join(result.missing)}. The same command without "
            f"--only completes it. Another folder can reuse it with --reuse {result.run}"
        )
        return
    closing_table(result.run, minima=result.minima, statistics=result.statistics, claims=result.claims)
