"""Commands of the pages: run in this process, or only checked against the programs that they name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from tests.docs.pages import ROOT
from tmrepro.cli.main import app

_PLACEHOLDER = re.compile(r"[A-Z]{2,}")


def simple_commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a shell script, without comments; `>` stands as a word of its own."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if set(word) <= set("&|;"):
                yield words
                words = []
            else:
                words.append(word)
        if words:
            yield words


def run(words: list[str]) -> None:
    """Run a command of tmrepro as a shell would.

    Raises:
        AssertionError: it is another program's, or does not end with exit code 0.
    """
    assert words[0] == "tmrepro", f"no test runs {words[0]}: say above the block why not (<!-- not run: ... -->)"
    words, target = _split_redirection(words)
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, f"{shlex.join(words)}\n{done.output}\n{done.exception!r}"
    if target:
        Path(target).write_text(done.stdout, encoding="utf-8")


def check(words: list[str]) -> None:
    """Check that what a command names is there: the subcommand and its options, a script and its options, a target of make.

    Raises:
        AssertionError: it is not.
    """
    match words:
        case ["tmrepro", *rest]:
            check_options(rest)
        case ["make", *targets]:
            rules = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
            assert set(targets) <= set(rules), words
        case ["python" | "python3", "-P", script, *options] | ["python" | "python3", script, *options] if (
            script.endswith(".py")
        ):
            source = (ROOT / script).read_text(encoding="utf-8")
            assert all(f'"{option}"' in source for option in options if option.startswith("--")), words
        case [program, *_] if "/" in program:
            assert (ROOT / program).is_file(), words


def check_options(words: list[str]) -> None:
    """Check that tmrepro has this subcommand with these options. Words in capitals stand for anything."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if _PLACEHOLDER.fullmatch(name):
            return
        alternatives = name.split("|")
        assert all(each in command.commands for each in alternatives), f"tmrepro has no command {name}"
        command = command.commands[alternatives[0]]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "-h", "--install-completion", "--show-completion"}
    used = {word.partition("=")[0].strip("[],.;") for word in rest if word.lstrip("[").startswith("--")}
    assert used <= known, f"tmrepro {' '.join(words)}: unknown {sorted(used - known)}"


def _split_redirection(words: list[str]) -> tuple[list[str], str | None]:
    if ">" not in words:
        return words, None
    place = words.index(">")
    return words[:place], words[place + 1]
