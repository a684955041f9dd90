"""Plain text with `code`, as docstrings and descriptions of the program are, in the languages of the site."""

from __future__ import annotations

import re

_CODE = re.compile(r"(`[^`]*`)")
_OPTION = re.compile(r"(?<![\w`-])--[a-z][a-z-]*")


def as_markdown(text: str) -> str:
    """Markdown that shows `text` as it stands, but for its code."""
    return _with_escapes(text.strip(), r"([*_\[\]<>{}|\\])")


def as_rst(text: str) -> str:
    """The same for reStructuredText whose default role is code."""
    return _with_escapes(text, r"([|*])")


def _with_escapes(text: str, special: str) -> str:
    def shown(part: str) -> str:
        return part if part.startswith("`") else _OPTION.sub(r"`\g<0>`", re.sub(special, r"\\\1", part))

    return "".join(map(shown, _CODE.split(text)))
