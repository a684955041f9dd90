"""What of the package's metadata depends on where the repository is: its addresses, and the links of the long description.

An index shows README.md away from the repository, so pictures and links need whole addresses. The repository's is the
`repository-code` of CITATION.cff. Where that names none, pictures are left out and links are plain words: nothing is broken.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_HTML_PICTURE = re.compile(r'<img src="(?!https?:)([^"]+)"([^>]*)>')
_PICTURE = re.compile(r"!\[([^\]]*)\]\((?!https?:)([^)]+)\)")
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)([^)]+)\)")


class AddressHook(MetadataHookInterface):
    """Fills in `readme` and `urls`."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """See hatchling."""
        root = Path(self.root)
        address, tag = repository(root / "CITATION.cff"), f"v{metadata['version']}"
        text = long_description((root / "README.md").read_text(encoding="utf-8"), address=address, tag=tag)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = project_urls(address, tag=tag)


def repository(citation: Path) -> str | None:
    """The repository's address by CITATION.cff; None where it has none."""
    found = re.search(
        r"^repository-code:\s*[\"']?(https://[^\s\"']+)", citation.read_text(encoding="utf-8"), re.MULTILINE
    )
    return found[1].rstrip("/") if found else None


def project_urls(address: str | None, *, tag: str) -> dict[str, str]:
    """The addresses that an index shows beside the description."""
    if address is None:
        return {}
    return {
        "Repository": address,
        "Documentation": f"{address}/tree/{tag}/docs",
        "Changelog": f"{address}/blob/{tag}/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }


def long_description(readme: str, *, address: str | None, tag: str) -> str:
    """`readme` with whole addresses for its pictures and links, at `tag`; without an address, without both."""
    if address is None:
        without_pictures = _PICTURE.sub("", _HTML_PICTURE.sub("", readme))
        return _LINK.sub(r"\1", without_pictures)
    whole = _HTML_PICTURE.sub(rf'<img src="{address}/raw/{tag}/\1"\2>', readme)
    whole = _PICTURE.sub(rf"![\1]({address}/raw/{tag}/\2)", whole)
    return _LINK.sub(rf"[\1]({address}/blob/{tag}/\2)", whole)
