"""The notebook as a page: its text, and its code in blocks."""

from __future__ import annotations

import json


def as_markdown(text: str) -> str:
    """Markdown of a notebook that is stored without outputs."""
    parts = []
    for cell in json.loads(text)["cells"]:
        body = "".join(cell["source"])
        parts.append(body if cell["cell_type"] == "markdown" else f"```python\n{body}\n```")
    return "\n\n".join(parts) + "\n"
