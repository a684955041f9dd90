"""This process is made one in which torch was loaded with other settings: what computes must start another."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SPEC = """
version: 1
name: tiny
data: {name: digits, train: 60, validation: 20, size: 8}
models:
  - MODEL
training: {batch_size: 20, warmup_steps: 2, max_epochs: 4}
surfaces:
  - {name: one, grid: {K: 3, step: 0.5}, chunk: 2}
compute: {threads: 1}
"""


@pytest.fixture(autouse=True, scope="session")
def _networks_importable() -> Iterator[None]:
    """By sys.path alone, which is what a notebook changes."""
    sys.path.insert(0, str(HERE))
    yield
    sys.path.remove(str(HERE))


@pytest.fixture
def too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATEN_CPU_CAPABILITY")


@pytest.fixture(scope="session")
def write_spec(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def write(factory: str = "own_networks:talking", arguments: str = "{}") -> Path:
        path = tmp_path_factory.mktemp("spec") / "tiny.yaml"
        model = f'{{name: own, kind: custom, factory: "{factory}", arguments: {arguments}}}'
        path.write_text(SPEC.replace("MODEL", model), encoding="utf-8")
        return path

    return write


@pytest.fixture
def is_gone() -> Callable[[int], bool]:
    def is_gone(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{pid}/stat")  # dead, and not yet asked for
        return not stat.exists() or stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"

    return is_gone
