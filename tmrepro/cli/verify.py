"""`tmrepro verify`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmrepro.cli.run import DataOption, DebugOption, QuietOption
from tmrepro.cli.verdict import show_verdict, write_verdict
from tmrepro.errors import TmreproError, UsageError

if TYPE_CHECKING:
    from tmrepro.verification import Verdict


def verify(
    *,
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="SPEC|RUN",
            help="A spec to run again, or the folder of a run, of a reference or of loss_surface.",
            show_default="spec/quickstart.yaml",
        ),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            help="integrity, statistics, audit or rerun.",
            show_default="rerun for a spec, audit for a run, otherwise statistics",
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="The reference folder to compare with.", show_default="./reference/NAME, otherwise the shipped one"
        ),
    ] = None,
    replicate: Annotated[
        bool,
        typer.Option("--replicate", help="Allow other seeds, and check whether the statistics are inside the bands."),
    ] = False,
    share: Annotated[float, typer.Option(help="Share of a surface's points to audit, but at least 16 points.")] = 0.01,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the audit's sample.", show_default="random")] = None,
    data_dir: DataOption = None,
    device: Annotated[str, typer.Option(help="Device for audit and rerun: auto, cpu or cuda.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Processes that train and evaluate in a rerun.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write the verdict as JUnit XML.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the verdict as one page, with figures and bands.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of --json, and exit.")] = False,
    update: Annotated[
        bool,
        typer.Option("--update", help="Replace the reference by this run, after showing the changes and asking."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --update: replace without asking.")] = False,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Allow importing the code of models and data that the spec names.")
    ] = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - main() acts on it
) -> None:
    """Verify a run, or run a spec again and compare the result. Exit code 0: verified, 1: different, 3: damaged or missing.

    Levels, each including those before it:
      integrity    check that the files are unchanged
      statistics   recompute statistics and figures from the surfaces
      audit        recompute minima and sampled points from the models
      rerun        run the spec again, and compare the result

    Examples:
      tmrepro verify

      tmrepro verify runs/quickstart --level statistics

      tmrepro verify spec/quickstart.yaml --junit verdict.xml --html verdict.html

      tmrepro verify runs/quickstart --update
    """
    if schema:
        from tmrepro.verification.document import dump_verdict_schema

        typer.echo(dump_verdict_schema(), nl=False)
        return
    from tmrepro.verification.document import error_document, verdict_document

    _check_files(target, junit=junit, html=html)
    if yes and not update:
        raise UsageError("--yes requires --update")
    if update and (level is not None or replicate):
        raise UsageError("--update chooses the level itself: omit --level and --replicate")
    how: dict[str, Any] = {
        "reference": reference, "share": share, "seed": seed, "data_dir": data_dir, "device": device, "workers": workers,
        "trust_code": trust_code,
    }  # fmt: skip
    try:
        if update:
            verdict, code = _update(target, how, yes=yes, quiet=quiet)
        else:
            verdict = _verify(target, how | {"level": level, "replicate": replicate}, quiet=quiet or as_json)
            code = verdict.exit_code
    except TmreproError as error:
        if as_json:
            typer.echo(json.dumps(error_document(str(target), error), indent=2))
        raise
    if as_json:
        typer.echo(json.dumps(verdict_document(verdict), indent=2, allow_nan=False))
    elif not update and (not quiet or not verdict.passed):
        show_verdict(verdict)
    write_verdict(verdict, junit=junit, html=html)
    raise typer.Exit(code)


def _check_files(target: Path | None, *, junit: Path | None, html: Path | None) -> None:
    for option, path in (("--junit", junit), ("--html", html)):
        if path is not None:
            _check_file(path, option=option, run=target)


def _check_file(path: Path, *, option: str, run: Path | None) -> None:
    """Raise UsageError if the file cannot be written, before hours are spent on its content."""
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder; give a file")
    if run is not None and run.is_dir() and path.resolve().is_relative_to(run.resolve()):
        raise UsageError(
            f"{option} {path} is in the run folder, which must match its manifest; choose a file outside it"
        )


def _verify(target: Path | None, how: dict[str, Any], *, quiet: bool) -> "Verdict":
    from tmrepro.api import verify as verify_target
    from tmrepro.cli.display import make_reporter

    with make_reporter(quiet=quiet) as reporter:
        return verify_target(target, reporter=reporter, **how)


def _update(target: Path | None, how: dict[str, Any], *, yes: bool, quiet: bool) -> tuple["Verdict", int]:
    """Verify, show the changes, ask, and replace. Return the verdict before the update, and the exit code."""
    from tmrepro.api import update_reference
    from tmrepro.cli.display import make_reporter
    from tmrepro.cli.update import check_asking, make_confirm, tell_outcome

    check_asking(yes=yes)
    # Plain lines only: a progress bar that redraws itself would hide the question.
    with make_reporter(quiet=quiet or sys.stderr.isatty()) as reporter:
        update, accepted = update_reference(
            target if target is not None else "spec/quickstart.yaml",
            confirm=make_confirm(yes=yes, quiet=quiet),
            reporter=reporter,
            **how,
        )
    return update.verdict, tell_outcome(update, accepted=accepted, quiet=quiet)
