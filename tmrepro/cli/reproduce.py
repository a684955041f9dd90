"""`tmrepro reproduce`."""

from pathlib import Path
from typing import Annotated

import typer

from tmrepro.cli.run import DataOption, DebugOption, QuietOption, WorkersOption
from tmrepro.cli.verdict import show_verdict, write_verdict


def reproduce(
    *,
    out: Annotated[
        Path, typer.Option(help="Folder for the run, verdict.json and verdict.html.", envvar="TMREPRO_OUT")
    ] = Path("out"),
    data_dir: DataOption = None,
    download: Annotated[
        bool, typer.Option("--download", help="Download CIFAR-10 into the data folder if there is a GPU.")
    ] = False,
    workers: WorkersOption = 1,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Reproduce the paper and verify the result. The container runs this command. The exit code is that of the verdict.

    With a GPU and the published files of CIFAR-10, this runs spec/paper.yaml. Otherwise it says what is missing and runs
    spec/quickstart.yaml: the same networks and algorithms on embedded data. It continues an interrupted run.
    At the end it judges the claims of the paper from the numbers of the shipped study, which has several training seeds.

    Examples:
      tmrepro reproduce

      tmrepro reproduce --data-dir ~/data --out /scratch/paper
    """
    from rich.console import Console

    from tmrepro.api import run, verify
    from tmrepro.api.reproduction import STUDY, judge_study, make_plan
    from tmrepro.cli.display import closing_table, make_reporter, show_claims
    from tmrepro.verification.document import write_json

    plan = make_plan(data_dir=data_dir, download=download)
    if not quiet:
        for what in plan.missing:
            typer.echo(f"missing for spec/paper.yaml: {what}", err=True)
        instead = " instead, the paper's networks and algorithms on embedded data" if plan.missing else ""
        typer.echo(f"reproducing spec/{plan.spec.name}.yaml{instead}", err=True)
    folder = out / plan.spec.name
    with make_reporter(quiet=quiet) as reporter:
        result = run(plan.spec, out=folder, data_dir=data_dir, device=plan.device, workers=workers, reporter=reporter)
        verdict = verify(folder, data_dir=data_dir, device=plan.device, reporter=reporter)
    write_verdict(verdict, junit=None, html=out / "verdict.html")
    write_json(verdict, out / "verdict.json")
    if not quiet:
        closing_table(folder, minima=result.minima, statistics=result.statistics)
        typer.echo()
    if not quiet or not verdict.passed:
        show_verdict(verdict)
    if not quiet:
        typer.echo(f"page: {out / 'verdict.html'}")
        claims = judge_study()
        if claims is not None:
            typer.echo(f"\nThe claims of the paper, judged from the numbers of the shipped study ({STUDY}):\n")
            show_claims(claims, console=Console(highlight=False, markup=False))
    raise typer.Exit(verdict.exit_code)
