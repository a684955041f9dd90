"""`tmrepro bench`."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from tmrepro.cli.run import DebugOption

if TYPE_CHECKING:
    from tmrepro.api.benchmark import Benchmark


def bench(
    *,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NETWORK", help="dnn, cnn or resnet50. May be repeated.", show_default="all three"),
    ] = None,
    images: Annotated[int, typer.Option(min=20, help="Number of images (handwritten digits).")] = 500,
    points: Annotated[int, typer.Option("--grid", metavar="K", min=2, help="Size of the K x K grid.")] = 11,
    level: Annotated[str, typer.Option(help="Level of determinism: portable, machine or fast.")] = "portable",
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads, like compute.threads of a spec.")] = 2,
    evaluator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Measure only plain and this evaluator. May be repeated.", show_default="all that fit"
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Number of rounds. Each round runs all evaluators in turn.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measurements as JSON.")] = False,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Measure the speed of each evaluator on this machine, compared with plain and with the fastest matrix product.

    Example: tmrepro bench --model resnet50 --grid 5 --level machine
    """
    from tmrepro.api.benchmark import MODELS, run_benchmark
    from tmrepro.errors import UsageError
    from tmrepro.numerics.determinism import LEVELS

    if level not in LEVELS:
        raise UsageError(f"--level {level}: choose {', '.join(LEVELS)}")
    found = run_benchmark(
        models=model or MODELS,
        images=images,
        K=points,
        level=level,
        threads=threads,
        rounds=repeats,
        evaluators=evaluator,
        note=lambda text: typer.echo(text, err=True),
    )
    if as_json:
        typer.echo(json.dumps(found.document(), indent=2))
    else:
        _show(found)


def _show(found: "Benchmark") -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("network", "evaluator", "ms a point", "of plain's time", "of peak"):
        table.add_column(heading, justify="left" if heading in {"network", "evaluator"} else "right", no_wrap=True)
    for each in found.models:
        for timing in each.timings:
            median, least, largest = timing.ratio
            table.add_row(
                each.model,
                timing.evaluator,
                f"{1000 * timing.point_seconds[0]:.3g}",
                f"{median:.3g} ({least:.3g} to {largest:.3g})",
                f"{timing.peak_share:.0%}",
            )
    console.print(table)
    console.print(
        f"{found.images} images, K = {found.K}, {found.threads} threads, {found.level}, torch {found.torch}; medians and "
        f"ranges of {found.rounds} rounds. Peak: {found.peak_operations / 1e9:.0f} billion operations a second, measured with "
        "the fastest matrix product. Operations are counted from the network's graph; evaluators that skip some can exceed 100%.",
        soft_wrap=True,
    )
