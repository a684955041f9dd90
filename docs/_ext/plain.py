"""Plain text with `code`, as the program's descriptions are, in Markdown."""

from __future__ import annotations

import re

_CODE = re.compile(r"(`[^`]*`)")


def as_markdown(text: str) -> str:
    """Markdown that shows `text` as it stands, but for its code."""
    parts = _CODE.split(text.strip())
    return "".join(part if part.startswith("`") else re.sub(r"([*_\[\]<>{}|\\])", r"\\\1", part) for part in parts)
