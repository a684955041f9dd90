"""`tmrepro curvature`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmrepro.cli.run import DataOption, DebugOption, QuietOption, SchedulerOption
from tmrepro.cli.worker import SchedulerFileOption, TlsCaOption, TlsCertOption, TlsKeyOption

if TYPE_CHECKING:
    from tmrepro.store.curvature import CurvatureDocument


def curvature(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run folder.", show_default=False)],
    models: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this network. May be repeated.", show_default="all"),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of eigenpairs, from the largest eigenvalue down.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random vectors.")] = 0,
    samples: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Use only the first N images of X~.", show_default="all")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Tolerance of a residual, as a share of the largest absolute eigenvalue.")
    ] = 1e-4,
    probes: Annotated[int, typer.Option(min=2, help="Number of random vectors for the trace.")] = 16,
    density_probes: Annotated[
        int,
        typer.Option(min=0, help="Number of these vectors that are also used for the spectral density; 0 for none."),
    ] = 4,
    data_dir: DataOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Processes, each of which measures one network at a time.")] = 1,
    scheduler: SchedulerOption = None,
    scheduler_file: SchedulerFileOption = None,
    tls_ca: TlsCaOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Import the custom models that the run's spec names.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the curvature.json of each network.")] = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Compute the curvature of the loss at theta*: largest eigenvalues, trace and spectrum of the Hessian of the loss on X~.

    Writes models/NAME/curvature.json, its vectors, and figures/spectrum.png into the run folder. Running the same command
    again does nothing. tr(H)/N is the mean curvature along random unit directions. It is printed next to the curvature of the
    run's own surfaces.

    Examples:
      tmrepro curvature runs/quickstart

      tmrepro curvature runs/paper --models resnet50 --samples 512 --top 5
    """
    from tmrepro.api import measure_curvature
    from tmrepro.cli.display import make_reporter

    with make_reporter(quiet=quiet) as reporter:
        found, there = measure_curvature(
            run,
            models=models,
            top=top,
            seed=seed,
            samples=samples,
            tolerance=tolerance,
            probes=probes,
            density_probes=density_probes,
            data_dir=data_dir,
            device=device,
            workers=workers,
            scheduler=scheduler,
            scheduler_file=scheduler_file,
            tls_ca=tls_ca,
            tls_cert=tls_cert,
            tls_key=tls_key,
            trust_code=trust_code,
            reporter=reporter,
        )
    if as_json:
        typer.echo(json.dumps({name: document.model_dump(mode="json") for name, document in found.items()}, indent=2))
    elif not quiet:
        if there:
            typer.echo(f"{run} already has this curvature: nothing to do\n")
        _show(run, found)


def _show(run: Path, found: "dict[str, CurvatureDocument]") -> None:
    from rich.console import Console
    from rich.table import Table

    from tmrepro.store.curvature import spectrum_stem
    from tmrepro.store.specs import read_spec

    console = Console(highlight=False, markup=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("network", overflow="fold")
    for heading in ("largest", "residual", "converged", "tr(H)", "+-", "tr(H)/N"):
        table.add_column(heading, justify="right", overflow="fold")
    for name, document in found.items():
        for index, value in enumerate(document.eigenvalues):
            trace = [f"{number:.3g}" for number in (document.trace, document.trace_error, document.mean_eigenvalue)]
            table.add_row(
                "" if index else name,
                f"{value:.5g}",
                f"{document.residuals[index]:.1g}",
                "yes" if document.converged[index] else "no",
                *(["", "", ""] if index else trace),
            )
    console.print(table)
    slices = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("network", "surface"):
        slices.add_column(heading, overflow="fold")
    for heading in ("tr(H)/N", "along a", "along b", "step"):
        slices.add_column(heading, justify="right", overflow="fold")
    slices.add_column("difference", overflow="fold")
    for name, document in found.items():
        for surface, held in document.slices.items():
            own = ["-" if value is None else f"{value:.3g}" for value in (held.a, held.b)]
            slices.add_row(name, surface, f"{held.predicted:.3g}", *own, f"{held.step:.3g}", held.difference)
    if slices.row_count:
        console.print()
        console.print(slices)
    if found:
        console.print(f"figure  {run / 'figures' / spectrum_stem(read_spec(run))}.png", soft_wrap=True)
