"""The reference of the command line, from the help of each command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer
from plain import as_markdown

from tmrepro.cli.main import EPILOG, app

_EXAMPLES = re.compile(r"^Examples?:", re.MULTILINE)


def commands() -> str:
    """Markdown: a section for each command, with its usage, its options and its examples."""
    root = typer.main.get_command(app)
    sections = [_section(command, words) for command, words in walk(root, ("tmrepro",))]
    return "\n".join([_options(root, ("tmrepro",)), EPILOG.partition(". ")[2], *sections])


def walk(group: Any, words: tuple[str, ...]) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Every command below `group`, with the words that call it, in the order of the help."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from walk(command, (*words, name))
        else:
            yield command, (*words, name)


def _section(command: Any, words: tuple[str, ...]) -> str:
    about, *examples = _EXAMPLES.split(command.help or "", maxsplit=1)
    lines = [_as_command(line.strip()) for line in "".join(examples).splitlines() if line.strip()]
    usage = " ".join([*words, *command.collect_usage_pieces(_context(command))])
    usage = usage.replace("{", "").replace("}", "")  # typer's, around a required argument
    parts = [
        f"## `{' '.join(words)}`\n",
        as_markdown(about) + "\n",
        _fence("text", usage),
        _options(command, words),
    ]
    if lines:
        parts += ["<!-- not run: examples of the help -->", _fence("sh", "\n".join(lines))]
    return "\n".join(parts)


def _as_command(line: str) -> str:
    return line if line.startswith("tmrepro ") and ", then" not in line else f"# {line}"


def _options(command: Any, words: tuple[str, ...]) -> str:
    """A description of each argument and option, which other pages and the search can point at."""
    context = _context(command)
    parts = [f"```{{program}} {' '.join(words)}\n```\n"]
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or parameter.name in {"help", "debug"}:
            continue
        names, about = record
        parts.append(f"````{{option}} {' '.join(names.split())}\n{as_markdown(about)}\n````\n")
    return "\n".join(parts)


def _context(command: Any) -> Any:
    return typer.Context(command, info_name=command.name)


def _fence(language: str, body: str) -> str:
    return f"```{language}\n{body}\n```\n"
