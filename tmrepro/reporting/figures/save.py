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


def figure_files(figure: Figure, name: str) -> dict[str, bytes]:
    """Return `name`.png and `name`.pdf with their bytes. Dots in the name are kept: `landscape.d1` gives `landscape.d1.png`."""
    return {f"{name}.png": render(figure, "png"), f"{name}.pdf": render(figure, "pdf")}


def save_figure(figure: Figure, stem: Path, write: Callable[[Path, bytes], None]) -> list[Path]:
    """Pass the path and the bytes of `stem`.png and `stem`.pdf to `write`, in this order. Return the paths."""
    files = {stem.with_name(name): data for name, data in figure_files(figure, stem.name).items()}
    for path, data in files.items():
        write(path, data)
    return list(files)


def render(figure: Figure, kind: Literal["png", "pdf"]) -> bytes:
    """Return the bytes of the figure as a file of that kind."""
    buffer = BytesIO()
    with isolated_settings():
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=_METADATA[kind])
    return buffer.getvalue()
