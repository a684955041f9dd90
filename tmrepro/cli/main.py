"""`tmrepro`: the commands, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from types import FrameType
from typing import Annotated, NoReturn

import typer

from tmrepro.cli.inspect import figures, report, stats
from tmrepro.cli.reference import reference_app
from tmrepro.cli.run import run
from tmrepro.cli.spec import spec_app
from tmrepro.cli.verify import verify
from tmrepro.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_TERMINATED, TmreproError

EPILOG = (
    "Start with `tmrepro run spec/quickstart.yaml` (two minutes, no data needed), then `tmrepro verify runs/quickstart`. "
    "Exit codes: 0 done or verified, 1 verified and different, 2 wrong usage or spec, 3 damaged or missing, "
    "4 could not compute, 70 a bug, 130 interrupted, 143 terminated."
)

app = typer.Typer(
    name="tmrepro",
    help="Train networks, draw the loss landscape around their minima, and prove that what you got is what was published.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(run)
app.command()(verify)
app.command()(figures)
app.command()(report)
app.command()(stats)
app.add_typer(reference_app, name="reference")
app.add_typer(spec_app, name="spec")


@app.callback(invoke_without_command=True)
def _options(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"tmrepro {version_of('tmrepro')}")
        raise typer.Exit


class _Terminated(BaseException):
    """SIGTERM, as an exception, so that locks and progress displays are left properly."""


def main() -> NoReturn:
    """Run the command line and exit with its code; no traceback reaches a user for anything they did."""
    debug = "--debug" in sys.argv or bool(os.environ.get("TMREPRO_DEBUG"))
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except TmreproError as error:
        _explain(error, debug=debug)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command continues where it stopped", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except _Terminated:
        typer.echo("terminated; the same command continues where it stopped", err=True)
        sys.exit(EXIT_TERMINATED)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug gets a code and a short word of its own
        if debug:
            traceback.print_exc()
        else:
            typer.echo(
                f"tmrepro met a bug of its own ({type(error).__name__}: {error}). "
                "Run the command again with --debug and report what it prints.",
                err=True,
            )
        sys.exit(EXIT_BUG)
    sys.exit(0)


def _explain(error: TmreproError, *, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    typer.echo(str(error) if "\n" in str(error) or error.exit_code == 2 else f"error: {error}", err=True)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise _Terminated
