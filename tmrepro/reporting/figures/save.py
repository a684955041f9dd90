"""A figure as PNG and PDF bytes that are the same in every process: no date, no software version, fixed resolution."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure

from tmrepro.reporting.figures.style import DPI, isolated_settings

_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}


def save_figure(figure: Figure, stem: Path, write: Callable[[Path, bytes], None]) -> list[Path]:
    """Call `write` with `stem`.png and `stem`.pdf, and return their paths.

    Dots in the stem are kept: `landscape.d1` gives `landscape.d1.png`.
    """
    formats: tuple[Literal["png", "pdf"], ...] = ("png", "pdf")
    paths = []
    for kind in formats:
        path = stem.with_name(f"{stem.name}.{kind}")
        write(path, render(figure, kind))
        paths.append(path)
    return paths


def render(figure: Figure, kind: Literal["png", "pdf"]) -> bytes:
    """Return the bytes of the figure as a file of that kind."""
    buffer = BytesIO()
    with isolated_settings():
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=_METADATA[kind])
    return buffer.getvalue()
