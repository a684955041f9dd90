"""`tmrepro verify`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmrepro.cli.run import DataOption, DebugOption, QuietOption

if TYPE_CHECKING:
    from tmrepro.verify import Verdict

PLAIN_WIDTH = 160  # of a log, which has no width of its own
STYLES = {"identical": "green", "equal": "green", "consistent": "yellow", "different": "red", "damaged": "red"}


def verify(
    *,
    target: Annotated[
        Path | None, typer.Argument(help="A run folder or a spec.", show_default="spec/quickstart.yaml")
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(help="integrity, statistics, audit or rerun.", show_default="audit for a run, rerun for a spec"),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="A reference folder.", show_default="the shipped one of the spec's name")
    ] = None,
    replicate: Annotated[
        bool, typer.Option("--replicate", help="The spec may have other seeds: do its statistics lie in the bands?")
    ] = False,
    share: Annotated[float, typer.Option(help="Share of a surface's points to audit; at least 16 points.")] = 0.01,
    seed: Annotated[int | None, typer.Option(help="Seed of the audit's sample.", show_default="random")] = None,
    data_dir: DataOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda, for a rerun.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Processes that evaluate surfaces in a rerun.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write the verdict as JUnit XML.")] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Allow custom models named in the run's spec to be imported.")
    ] = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Check a run, or run a spec again and compare. Exit code 0: verified, 1: different, 3: damaged or missing.

    Levels, each including those before it: integrity (are these the bytes that were written?), statistics (do the
    surfaces give the statistics and figures?), audit (do the models give the surfaces?), rerun (does the spec give it all?).

    Examples:
      tmrepro verify

      tmrepro verify runs/quickstart --level statistics

      tmrepro verify spec/quickstart.yaml --junit verdict.xml
    """
    from tmrepro.api import verify as verify_target
    from tmrepro.cli.display import make_reporter

    with make_reporter(quiet=quiet or as_json) as reporter:
        verdict = verify_target(
            target,
            level=level,
            reference=reference,
            replicate=replicate,
            share=share,
            seed=seed,
            data_dir=data_dir,
            device=device,
            workers=workers,
            trust_code=trust_code,
            reporter=reporter,
        )
    if junit is not None:
        from tmrepro.verify.output import write_junit

        write_junit(verdict, junit)
    if as_json:
        from tmrepro.verify.output import verdict_document

        typer.echo(json.dumps(verdict_document(verdict), indent=2))
    elif not quiet or not verdict.passed:
        _show(verdict)
    raise typer.Exit(verdict.exit_code)


def _show(verdict: "Verdict") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    table = Table(box=None, pad_edge=False)
    for heading in ("level", "subject", "grade", "found"):
        table.add_column(heading, overflow="fold")
    for check in verdict.checks:
        style = STYLES[check.grade]
        table.add_row(check.level, escape(check.subject), f"[{style}]{check.grade}[/]", escape(check.detail))
    console.print(table)
    for note in verdict.notes:
        console.print(f"note: {escape(note)}", soft_wrap=True)
    word = "verified" if verdict.passed else ("DAMAGED" if verdict.grade == "damaged" else "DIFFERENT")
    against = f" against reference {verdict.reference}" if verdict.reference else ""
    console.print(f"[bold {STYLES[verdict.grade]}]{word}[/]: {escape(verdict.subject)}, level {verdict.level}{against}: "
                  f"{verdict.grade}", soft_wrap=True)  # fmt: skip
