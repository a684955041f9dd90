"""`tmrepro claims`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tmrepro.cli.run import DebugOption

PLAIN_WIDTH = 160  # for output that is not a terminal


def claims(
    *,
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="A finished run or a reference. Several must have the same spec except for seeds.",
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON, with values and p.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write the verdicts to this HTML file.")] = None,
    document: Annotated[
        Path | None,
        typer.Option("--claims", metavar="FILE", help="Your own claims, a YAML file.", show_default="the paper's"),
    ] = None,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Judge the claims of the paper over training seeds: reproduced, contradicted or inconclusive.

    Compares two networks with the exact one-sided Mann-Whitney test over training seeds. The value of a seed is the median over
    direction pairs. Holm's correction covers all lines of a setting; a setting is a surface of the spec. A network that never
    reached an LM or GM counts as later than any that did. A line of the paper needs at least six seeds per network.
    The exit code is 0 for any verdict, because a claim that does not hold is a result.

    Examples:
      tmrepro claims runs/paper-cpu

      tmrepro claims runs/first runs/more-seeds --json | jq '.settings.paper[] | {id, p_adjusted, verdict}'
    """
    from rich.console import Console

    from tmrepro.claims import judge_folders, load_claims
    from tmrepro.cli.display import show_claims
    from tmrepro.reporting.report import write_claims

    judged = judge_folders(folders, claims=load_claims(document))
    if html is not None:
        write_claims(judged, html, outside=folders)
    if as_json:
        typer.echo(judged.text(), nl=False)
        return
    show_claims(
        judged, console=Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    )
