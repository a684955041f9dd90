"""Paths of users: expands `~` and `~user`, and checks that the working directory exists.

A shell expands `~` only at the start of a word. So `--out=~/runs`, a variable in quotes and a path in Python arrive
unexpanded. A process whose working directory was removed still runs, but MKL ends it when it loads its kernels.
"""

from __future__ import annotations

import os
from pathlib import Path

from tmrepro.errors import UsageError


def user_path(given: Path | str) -> Path:
    """Return `given` with its home folder written out. Every path of a user goes through this function.

    Raises:
        UsageError: an empty path, NUL in it, the home folder of an unknown user, or no working directory.
    """
    require_working_folder()
    text = os.fspath(given)
    if not text or "\0" in text:
        raise UsageError(f"expected a path, got {text!r}")
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - pathlib's raises if a file has such a name
    first = path.parts[0] if path.parts else ""
    if not first.startswith("~"):
        return path
    if text.startswith("~") and not os.path.lexists(first):
        whose = f"user {first[1:]!r} has" if first[1:] else "HOME is not set, and this user has"
        raise UsageError(f"{text}: {whose} no known home folder; give an absolute path")
    return Path.cwd() / path  # so that later code does not read it as a home folder


def require_working_folder() -> None:
    """Raise UsageError unless the working directory exists: relative paths lead nowhere without it, and MKL cannot load."""
    try:
        os.getcwd()  # noqa: PTH109 - asks the system, makes no path
    except FileNotFoundError as error:
        was = os.environ.get("PWD")
        where = f" ({was})" if was else ""
        raise UsageError(
            f"the working directory no longer exists{where}: it was removed or replaced; change to a folder that exists "
            "(cd), then run the same command again"
        ) from error
