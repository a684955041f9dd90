"""`tmrepro`: the commands, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import sys
import traceback
import warnings
from types import FrameType
from typing import Annotated, NoReturn

import typer

from tmrepro.api.isolation import claimed
from tmrepro.cli.app import App
from tmrepro.cli.bench import bench
from tmrepro.cli.claims import claims
from tmrepro.cli.curvature import curvature
from tmrepro.cli.diff import diff
from tmrepro.cli.doctor import doctor
from tmrepro.cli.export import export
from tmrepro.cli.inspect import figures, report, stats
from tmrepro.cli.new import new
from tmrepro.cli.reference import reference_app
from tmrepro.cli.reproduce import reproduce
from tmrepro.cli.restart import start_again
from tmrepro.cli.run import run
from tmrepro.cli.several import compare, ls
from tmrepro.cli.spec import spec_app
from tmrepro.cli.streams import open_streams
from tmrepro.cli.verify import verify
from tmrepro.cli.view import view
from tmrepro.cli.worker import worker
from tmrepro.errors import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    ComputeError,
    LoadedTooEarlyError,
    SpecError,
    TmreproError,
)
from tmrepro.numerics.determinism import settle
from tmrepro.spec.user_paths import require_working_folder

_STOPPED: dict[int, tuple[str, int]] = {
    signal.SIGINT: ("interrupted", EXIT_INTERRUPTED),
    signal.SIGTERM: ("terminated", EXIT_TERMINATED),
}

EPILOG = (
    "Start with `tmrepro run spec/quickstart.yaml` (two minutes, no data needed), then `tmrepro verify runs/quickstart`. "
    "Exit codes: 0 done or verified, 1 verified and different, 2 wrong usage or spec, 3 damaged or missing, "
    "4 could not compute, 70 a bug, 130 interrupted, 143 terminated."
)

app = App(
    name="tmrepro",
    help="Train networks, draw the loss landscape around their minima, and prove that what you got is what was published.",
    epilog=EPILOG,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command()(run)
app.command()(worker)
app.command()(verify)
app.command()(reproduce)
app.command()(figures)
app.command()(report)
app.command()(stats)
app.command()(curvature)
app.command()(claims)
app.command()(diff)
app.command()(view)
app.command()(export)
app.command()(ls)
app.command()(compare)
app.command()(new)
app.command()(doctor)
app.command()(bench)
app.add_typer(reference_app, name="reference")
app.add_typer(spec_app, name="spec")


@app.callback(invoke_without_command=True)
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        from tmrepro import __version__

        typer.echo(f"tmrepro {__version__}")
        raise typer.Exit


class _Stopped(BaseException):
    """A signal that asks to stop, as an exception, so that locks, workers and progress displays are left properly."""

    def __init__(self, number: int) -> None:
        self.number = number


def main() -> NoReturn:
    """Run the command line and exit with its code; no traceback reaches a user for anything they did."""
    if _completes():
        app()
    open_streams()
    start_again(settle())
    gc.set_threshold(50_000, 10, 10)  # to look for garbage among the million objects of imports takes seconds
    debug = "--debug" in sys.argv or bool(os.environ.get("TMREPRO_DEBUG"))
    if not debug:  # what an error left half made (zarr's event loop) is told with a traceback when it is dropped
        sys.unraisablehook = lambda _: None
        warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)
    # Whatever the parent ignores: a shell script starts what it puts in the background with ctrl-C ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        code = _run(debug=debug)
    except _Stopped as stop:
        code = _STOPPED[stop.number][1]
        _say(f"{_STOPPED[stop.number][0]}{_how_to_continue()}")
    gc.freeze()  # Python's last look for garbage, among a million objects, would take two seconds
    sys.exit(_flushed(code))


def _completes() -> bool:
    """Whether a shell asks for completions, or a user to have them: typer answers, and ends the program itself."""
    asked = sys.argv[1:2] in (["--install-completion"], ["--show-completion"])
    return asked or "_TMREPRO_COMPLETE" in os.environ


def _run(*, debug: bool) -> int:
    try:
        require_working_folder()
        with claimed():  # whose settings are wrong, starts again
            return int(app(standalone_mode=False) or 0)
    except TmreproError as error:
        if isinstance(error, LoadedTooEarlyError):
            start_again(error.environment)
        return _explain(error, debug=debug, code=error.exit_code)
    except SystemExit as error:  # nothing of ours ends so
        text = f"code that the spec names ended the program (sys.exit({error.code!r}))"
        return _explain(error, debug=debug, code=ComputeError.exit_code, text=text)
    except MemoryError as error:
        return _explain(error, debug=debug, code=ComputeError.exit_code, text="out of memory")
    except OSError as error:  # what no room foresaw: the environment's fault, and rarely ours
        return _explain(error, debug=debug, code=ComputeError.exit_code, text=_words_of(error))
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug gets a code and a short word of its own
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # typer's own errors, whose base class it hides
            error.show()
            return int(error.exit_code)
        text = (
            f"tmrepro met a bug of its own ({type(error).__name__}: {error}). "
            "Run the command again with --debug and report what it prints."
        )
        return _explain(error, debug=debug, code=EXIT_BUG, text=text)


def _words_of(error: OSError) -> str:
    # All that we write to files names its file.
    unnamed = "output cannot be written: " if error.errno == errno.ENOSPC else ""
    where = f"{error.filename}: " if error.filename is not None else unnamed
    too_many = error.errno in {errno.EMFILE, errno.ENFILE}
    remedy = f"; allow more (ulimit -n), or use fewer --workers{_how_to_continue()}" if too_many else ""
    return f"{where}{error.strerror or error}{remedy}"


def _explain(error: BaseException, *, debug: bool, code: int, text: str | None = None) -> int:
    """Say what is wrong, each line of it once, and return `code`."""
    if debug:
        traceback.print_exception(error)
    message = str(error) if text is None else text
    spec = isinstance(error, SpecError)  # its lines begin with the place, which editors make a link
    _say(message if spec or code == EXIT_BUG else f"error: {message}")
    return code


def _how_to_continue() -> str:
    goes_on = len(sys.argv) > 1 and sys.argv[1] in {"run", "reference", "reproduce"}
    return "; the same command continues where it stopped" if goes_on else ""


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # where nobody can be told, the exit code says it
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def _flushed(code: int) -> int:
    """`code`, unless what was printed could not be written; nothing is left that Python would complain of at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            # else it is said: some Pythons keep what failed
            if stream is sys.stdout and code != ComputeError.exit_code:
                _say(f"error: output cannot be written: {error.strerror}")
                code = ComputeError.exit_code
    return code


def _stop(number: int, _frame: FrameType | None) -> None:
    raise _Stopped(number)
