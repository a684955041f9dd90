"""`tmrepro`: the commands, and the place where an error becomes a message and an exit code."""

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
    """A signal to stop, as an exception, so that locks, workers and progress displays are released."""

    def __init__(self, number: int) -> None:
        self.number = number


def main() -> NoReturn:
    """Run the command line and exit with its code. No user error gives a traceback."""
    if _completes():
        app()
    open_streams()
    start_again(settle())
    gc.set_threshold(50_000, 10, 10)  # collecting garbage among the million objects of imports takes seconds
    debug = "--debug" in sys.argv or bool(os.environ.get("TMREPRO_DEBUG"))
    if not debug:  # dropping objects that an error left incomplete (zarr's event loop) prints a traceback
        sys.unraisablehook = lambda _: None
        warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)
    # Even if the parent ignores them: a shell script starts background jobs with ctrl-C ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        code = _run(debug=debug)
    except _Stopped as stop:
        code = _STOPPED[stop.number][1]
        _say(f"{_STOPPED[stop.number][0]}{_how_to_continue()}")
    gc.freeze()  # Python's final garbage collection, among a million objects, would take two seconds
    sys.exit(_flushed(code))


def _completes() -> bool:
    """Return whether the shell requests completions or their installation. Typer answers, and ends the program itself."""
    asked = sys.argv[1:2] in (["--install-completion"], ["--show-completion"])
    return asked or "_TMREPRO_COMPLETE" in os.environ


def _run(*, debug: bool) -> int:
    try:
        require_working_folder()
        with claimed():  # wrong settings restart the command
            return int(app(standalone_mode=False) or 0)
    except TmreproError as error:
        if isinstance(error, LoadedTooEarlyError):
            start_again(error.environment)
        return _explain(error, debug=debug, code=error.exit_code)
    except SystemExit as error:  # tmrepro's own code does not exit this way
        text = f"code that the spec names ended the program (sys.exit({error.code!r}))"
        return _explain(error, debug=debug, code=ComputeError.exit_code, text=text)
    except MemoryError as error:
        return _explain(error, debug=debug, code=ComputeError.exit_code, text="out of memory")
    except OSError as error:  # an error of the environment that no other code handles
        return _explain(error, debug=debug, code=ComputeError.exit_code, text=_words_of(error))
    except Exception as error:  # noqa: BLE001 - the last resort: a bug has its own exit code and a short message
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # typer's own errors, whose base class it hides
            error.show()
            return int(error.exit_code)
        text = (
            f"this is a bug in tmrepro ({type(error).__name__}: {error}). "
            "Run the command again with --debug and report what it prints."
        )
        return _explain(error, debug=debug, code=EXIT_BUG, text=text)


def _words_of(error: OSError) -> str:
    # Errors of our own files name the file.
    unnamed = "output cannot be written: " if error.errno == errno.ENOSPC else ""
    where = f"{error.filename}: " if error.filename is not None else unnamed
    too_many = error.errno in {errno.EMFILE, errno.ENFILE}
    remedy = f"; allow more (ulimit -n), or use fewer --workers{_how_to_continue()}" if too_many else ""
    return f"{where}{error.strerror or error}{remedy}"


def _explain(error: BaseException, *, debug: bool, code: int, text: str | None = None) -> int:
    """Print what is wrong, each line once, and return `code`."""
    if debug:
        traceback.print_exception(error)
    message = str(error) if text is None else text
    spec = isinstance(error, SpecError)  # its lines begin with file and line, which editors turn into a link
    _say(message if spec or code == EXIT_BUG else f"error: {message}")
    return code


def _how_to_continue() -> str:
    goes_on = len(sys.argv) > 1 and sys.argv[1] in {"run", "reference", "reproduce"}
    return "; the same command continues where it stopped" if goes_on else ""


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the exit code remains if nothing can be printed
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def _flushed(code: int) -> int:
    """Return `code`, or that of an output error. Flush all output, so that Python does not complain at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            # Some Pythons keep the output that failed, and would complain again.
            if stream is sys.stdout and code != ComputeError.exit_code:
                _say(f"error: output cannot be written: {error.strerror}")
                code = ComputeError.exit_code
    return code


def _stop(number: int, _frame: FrameType | None) -> None:
    raise _Stopped(number)
