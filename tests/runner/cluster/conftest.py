"""What tests send to workers lies in a module that these can import."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def _stand_ins_importable() -> Iterator[None]:
    """Here and, since a new process gets this path, in local workers."""
    folder = str(Path(__file__).parent / "standins")
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)
