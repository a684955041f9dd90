"""The checkpoint of a training that is under way, as a file of the run folder: .work/checkpoints/NAME.KEY.safetensors."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

from tmrepro.errors import DamagedError, UsageError
from tmrepro.spec.limits import WEIGHTS_BYTES
from tmrepro.store.atomic import WORK, read_bytes, remove, work_folder, write_bytes
from tmrepro.training.checkpoint import read_progress

# A checkpoint costs its own time on the disk; so many times that is trained in between, but not less than the seconds.
CHECKPOINT_COST_FACTOR = 20
CHECKPOINT_SECONDS = 10.0  # or what this variable says; 0: after every epoch
CHECKPOINT_SECONDS_VARIABLE = "TMREPRO_CHECKPOINT_SECONDS"
DIGEST_BYTES = 32


class Checkpoint:
    """The checkpoint file of one training: written now and then, read when a run continues."""

    def __init__(self, run: Path, name: str, *, key: str) -> None:
        self.relative = f"{WORK}/checkpoints/{name}.{key[:16]}.safetensors"
        self._work = work_folder(run)
        self._path = run / self.relative
        self.seconds = _checkpoint_seconds()
        self._next = time.monotonic() + self.seconds

    def save(self, pack: Callable[[], bytes]) -> None:
        """Write what `pack` returns, if it is time."""
        begin = time.monotonic()
        if begin < self._next:
            return
        self.put(sealed(pack()))
        if self.seconds > 0:
            end = time.monotonic()
            self._next = end + max(self.seconds, CHECKPOINT_COST_FACTOR * (end - begin))

    def put(self, content: bytes) -> None:
        """Write a sealed checkpoint."""
        write_bytes(self._path, content, work=self._work)

    def content(self) -> bytes | None:
        """The last checkpoint, sealed; None if there is none, or if it isn't what was written."""
        data = self.load()
        return None if data is None else sealed(data)

    def load(self) -> bytes | None:
        """The last checkpoint; None if there is none, or if it isn't what was written."""
        return read_checkpoint(self._path)

    def remove(self) -> None:
        """The training is over."""
        remove(self._path)


def sealed(data: bytes) -> bytes:
    """A checkpoint behind its SHA-256."""
    return hashlib.sha256(data).digest() + data


def read_checkpoint(path: Path) -> bytes | None:
    """What was sealed; None if nothing is there, or something else."""
    try:
        content = read_bytes(path, limit_bytes=WEIGHTS_BYTES)
        digest, data = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != digest:
            return None
        read_progress(data)
    except (DamagedError, ValueError):
        return None
    return data


def _checkpoint_seconds() -> float:
    text = os.environ.get(CHECKPOINT_SECONDS_VARIABLE, "") or str(CHECKPOINT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise UsageError(f"{CHECKPOINT_SECONDS_VARIABLE}={text}: expected a number of seconds, 0 or more")
    return seconds
