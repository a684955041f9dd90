"""The pages of the site and README.md as lists of code blocks, with what a marker above a block says of it.

`<!-- not run: REASON -->` stands above a block that no test can run here; its commands are checked against the command line.
`<!-- not a spec: REASON -->` stands above YAML of another kind.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_MARKER = re.compile(r"<!-- (not run|not a spec): (.+) -->")


@dataclass(frozen=True)
class Block:
    """A code block: the page's name, its first line there, its language, its text, and the marker above it."""

    page: str
    line: int
    language: str
    text: str
    marker: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def page_names() -> list[str]:
    """README.md and every page of the site, relative to the repository; the notebook has a test of its own."""
    return ["README.md", *(str(path.relative_to(ROOT)) for path in sorted(DOCS.rglob("*.md")))]


def blocks_of(page: str) -> list[Block]:
    """The code blocks of a page as readers see it, in order. Directives of MyST are none."""
    tokens = _tokens(page)
    found = []
    for number, token in enumerate(tokens):
        if token.type == "code_block" or (token.type == "fence" and not token.info.startswith("{")):
            assert token.map is not None
            found.append(
                Block(page, token.map[0] + 1, token.info.strip(), token.content, _marker_before(tokens, number))
            )
    return found


def inline_commands(page: str) -> list[str]:
    """What stands as code within a sentence or a table, and begins with a command of tmrepro."""
    inside = [child for token in _tokens(page) for child in token.children or [] if child.type == "code_inline"]
    return [token.content for token in inside if re.match(r"tmrepro [a-z]", token.content)]


def bare_options(page: str) -> list[str]:
    """Options that stand in a sentence without being marked as code: the site would show their hyphens as a dash."""
    texts = [child.content for token in _tokens(page) for child in token.children or [] if child.type == "text"]
    return [found for text in texts for found in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)]


def generated_page(page: str) -> str:
    """The Markdown of a page of the site, with its generated parts."""
    extension = str(DOCS / "_ext")
    if extension not in sys.path:
        sys.path.append(extension)
    from tmrepro_docs import generated

    return generated((ROOT / page).read_text(encoding="utf-8"))


def _tokens(page: str) -> list[Token]:
    text = generated_page(page) if page.startswith("docs/") else (ROOT / page).read_text(encoding="utf-8")
    return MarkdownIt("commonmark").enable("table").parse(text)


def _marker_before(tokens: list[Token], number: int) -> str | None:
    if number == 0 or tokens[number - 1].type != "html_block":
        return None
    found = _MARKER.fullmatch(tokens[number - 1].content.strip().splitlines()[-1])
    return found[1] if found else None
