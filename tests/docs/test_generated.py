"""The generated parts of the reference are complete: every field, every option, every number."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import typer

from tests.docs.pages import ROOT, generated_page
from tmrepro.cli.main import app
from tmrepro.spec import spec_schema
from tmrepro.statistics.catalogue import MINIMUM_NUMBERS, STATISTICS

if not (ROOT / "docs" / "conf.py").is_file():
    pytest.skip("needs a checkout", allow_module_level=True)


def test_the_spec_page_has_every_field_of_every_section_once() -> None:
    schema, text = spec_schema(), generated_page("docs/reference/spec.md")
    fields = Counter(name for section in schema["$defs"].values() for name in section["properties"])
    assert Counter(re.findall(r"^`(\w+)`\n: ", text, re.MULTILINE)) == fields
    assert re.findall(r"^## `(\w+)`$", text, re.MULTILINE) == list(schema["properties"])


def test_the_spec_page_has_permitted_values_defaults_and_sources() -> None:
    text = generated_page("docs/reference/spec.md")
    field = text.partition("`K`\n: ")[2].partition("\n`")[0]
    assert "An integer, at least 2, at most 4,096. Default: `51`." in field
    assert "Our choice: the paper gives none" in field
    assert "Section 3.1 of the paper." in text.partition("\n## `data`\n")[2].partition("\n### ")[0]


def test_the_command_page_has_every_command_and_option() -> None:
    text = generated_page("docs/reference/cli.md")
    for command, words in walk(typer.main.get_command(app), "tmrepro"):
        section = text.partition(f"## `{words}`\n")[2].partition("\n## ")[0]
        assert section, words
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        told = set(re.findall(r"--[a-z][a-z-]*", " ".join(re.findall(r"\{option\} (.*)", section))))
        assert told == options - {"--help", "--debug"}, words


def test_the_statistics_page_has_every_number() -> None:
    text = generated_page("docs/reference/statistics.md")
    assert all(f"\n| `{info.name}` | " in text for info in (*STATISTICS, *MINIMUM_NUMBERS))


def walk(group: typer.core.TyperGroup, words: str) -> list[tuple[typer.core.TyperCommand, str]]:
    found = []
    for name, command in group.commands.items():
        deeper = hasattr(command, "commands")
        found += walk(command, f"{words} {name}") if deeper else [(command, f"{words} {name}")]
    return found
