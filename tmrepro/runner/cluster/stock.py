"""The files that a worker holds, by their SHA-256. Each file is sent once."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

LIMIT_BYTES = 2**33  # above it, the least recently used files are removed


class Stock:
    """A folder of files, each named after its content."""

    def __init__(self, folder: Path) -> None:
        self._files, self._views = folder / "files", folder / "views"
        for each in (self._files, self._views):
            each.mkdir(parents=True, exist_ok=True)

    def lacks(self, needs: Mapping[str, str]) -> tuple[str, ...]:
        """Return the paths among `needs` (path -> SHA-256) whose content is missing here."""
        return tuple(path for path, digest in needs.items() if not (self._files / digest).exists())

    def put(self, content: bytes) -> str:
        """Store `content`. Return its SHA-256."""
        digest = hashlib.sha256(content).hexdigest()
        with tempfile.NamedTemporaryFile(dir=self._views, delete=False) as file:
            file.write(content)
        Path(file.name).replace(self._files / digest)
        self._forget_old(but=digest)
        return digest

    @contextmanager
    def view(self, needs: Mapping[str, str]) -> Iterator[Path]:
        """Yield a folder that has the files of `needs` in their places. It is removed after the task."""
        folder = Path(tempfile.mkdtemp(dir=self._views))
        try:
            for path, digest in needs.items():
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                os.utime(self._files / digest)
                os.link(self._files / digest, target)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _forget_old(self, *, but: str) -> None:
        found = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in self._files.iterdir())
        excess = sum(size for _, size, _ in found) - LIMIT_BYTES
        for _, size, path in found:
            if excess > 0 and path.name != but:
                path.unlink()
                excess -= size
