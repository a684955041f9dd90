"""Spec files."""

from __future__ import annotations

from pathlib import Path


def write_spec(folder: Path, text: str, *changes: tuple[str, str]) -> Path:
    """Write tiny.yaml into `folder`, with pieces of its text replaced, and return its path."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    return path
