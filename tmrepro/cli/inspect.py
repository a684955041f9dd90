"""`tmrepro figures`, `tmrepro report`, `tmrepro stats`: regenerate the output of a finished run from its stored numbers."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tmrepro.cli.run import DebugOption

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)]


def figures(
    *,
    run: RunArgument,
    to: Annotated[Path | None, typer.Option(help="Folder for the pictures.", show_default="NAME-figures")] = None,
    scale: Annotated[str | None, typer.Option(help="auto, linear or log.", show_default="as in the spec")] = None,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Redraw the figures of a run from its stored surfaces, into a separate folder.

    Example: tmrepro figures runs/quickstart --scale log --to pictures
    """
    from tmrepro.api.regenerate import draw_again

    for path in draw_again(run, to=to, scale=scale):
        typer.echo(str(path))


def report(
    *,
    run: RunArgument,
    to: Annotated[Path | None, typer.Option(help="Where to write the page.", show_default="NAME.html")] = None,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Write the report page of a run again: figures, tables, spec and provenance in one HTML file.

    Example: tmrepro report runs/quickstart --to page.html
    """
    from tmrepro.api.regenerate import write_report_again

    typer.echo(str(write_report_again(run, to=to)))


def stats(
    *,
    run: RunArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Recompute the statistics of a run's surfaces, and print them.

    Example: tmrepro stats runs/quickstart --json | jq .paper.dnn.roughness
    """
    from tmrepro.api.regenerate import compute_statistics_again, errors_in_words
    from tmrepro.cli.display import number

    found = compute_statistics_again(run)
    if as_json:
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
        return
    from rich.console import Console
    from rich.table import Table

    for surface, models in found.items():
        table = Table(title=surface, title_justify="left")
        table.add_column("statistic", overflow="fold")
        for model in models:
            table.add_column(model, justify="right", overflow="fold")
        for name in next(iter(models.values())):
            table.add_row(name, *(number(values[name]) for values in models.values()))
        Console(highlight=False).print(table)
    for words in errors_in_words(run, found):
        typer.echo(words)
