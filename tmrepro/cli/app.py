"""Registers the commands of tmrepro, and adds what all of them share."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from tmrepro.spec.user_paths import user_path


class App(typer.Typer):
    """A group of commands. Expands `~` in the paths of a command, from the command line or the environment."""

    def command(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        """Register a command, as typer does."""
        register = super().command(*args, **kwargs)

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            register(_with_home_folders(function))
            return function

        return decorate


def _with_home_folders(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(**values: Any) -> Any:
        return function(**{name: _expanded(value) for name, value in values.items()})

    call.__doc__ = unwrap(inspect.getdoc(function) or "")
    return call


def unwrap(text: str) -> str:
    """Join the lines of each paragraph, so that the help fills any terminal. Indented lines stay as they are."""
    lines: list[str] = []
    for line in text.splitlines():
        continues = bool(lines and lines[-1]) and not line.startswith(" ") and not lines[-1].startswith(" ")
        if continues and line:
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return "\n".join(lines)


def _expanded(value: Any) -> Any:
    match value:
        case Path():
            return user_path(value)
        case list():
            return [_expanded(each) for each in value]
        case _:
            return value
