"""The Sphinx extension of this site: pages made from what the program says of itself, so that they cannot be out of date.

A line `<!-- generated: NAME -->` in a page is replaced by what the generator of that name gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cli_reference
import notebook_page
import spec_reference
import statistics_reference
from plain import as_rst
from sphinx.application import Sphinx

GENERATORS: dict[str, Callable[[], str]] = {
    "commands": cli_reference.commands,
    "spec": spec_reference.fields,
    "surface statistics": statistics_reference.surface_statistics,
    "minimum numbers": statistics_reference.minimum_numbers,
}
_GENERATED = re.compile(r"^<!-- generated: ([a-z ]+) -->$", re.MULTILINE)
_SECTION = re.compile(r"[A-Z][a-z]+:$", re.MULTILINE)  # Args: and the like, which napoleon reads
_RETURNS = re.compile(r"\AReturns:\n +")


def setup(app: Sphinx) -> dict[str, bool]:
    """See Sphinx."""
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _escape, priority=100)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def generated(text: str) -> str:
    """`text` with every generated part in its place."""
    return _GENERATED.sub(lambda found: GENERATORS[found[1]](), text)


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    if Path(app.env.doc2path(name)).suffix == ".ipynb":
        source[0] = notebook_page.as_markdown(source[0])
    source[0] = generated(source[0])


def _escape(_app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Our docstrings are plain text with `code`, an indented block before the sections is an example."""
    shown, in_section = [], False
    for paragraph in "\n".join(lines).split("\n\n"):
        in_section = in_section or _SECTION.match(paragraph) is not None
        if paragraph.startswith("    ") and not in_section:
            shown.append(f"::\n\n{paragraph}")
        else:  # what is returned may have colons, behind which napoleon would not look for a type
            shown.append(as_rst(_RETURNS.sub(":returns: ", paragraph)))
    lines[:] = "\n\n".join(shown).split("\n")
