"""Users' code in a folder of its own, forgotten after each test as if Python had been started again."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def forget(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Take from this process what it loaded from tmp_path."""

    def start_again() -> None:
        for name, module in list(sys.modules.items()):
            path = vars(module).get("__path__", ()) if isinstance(module, ModuleType) else ()
            places = [str(getattr(module, "__file__", None)), *map(str, path)]
            if any(place.startswith(str(tmp_path)) for place in places):
                del sys.modules[name]
        importlib.invalidate_caches()

    yield start_again
    start_again()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget: Callable[[], None]) -> Callable[..., Path]:  # noqa: ARG001
    """Write files below a folder that Python imports from: write({"helpers/act.py": "..."})."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # files are changed within a second, at the same size

    def files(sources: dict[str, str], folder: str = "code") -> Path:
        home = tmp_path / folder
        for name, text in sources.items():
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        if str(home) not in sys.path:
            monkeypatch.syspath_prepend(home)
        importlib.invalidate_caches()
        return home

    return files
