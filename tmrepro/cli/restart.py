"""Restarts a command whose process has unsuitable settings (determinism)."""

from __future__ import annotations

import os
import sys

_COMMAND = "import sys; sys.argv[0] = 'tmrepro'; from tmrepro.cli import main; main()"


def start_again(environment: dict[str, str] | None) -> None:
    """Replace this process by the same command with `environment`. Return if that is None or the present environment.

    `-P` keeps the current folder off the module path; `-c` alone would add it.
    """
    if environment is None or environment == dict(os.environ):
        return
    options = [option for option in sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv)] if option not in {"-m", "-c"}]
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execve(  # noqa: S606
        sys.executable, [sys.executable, *options, "-P", "-c", _COMMAND, *sys.argv[1:]], environment
    )
