"""The checkpoint of an unfinished training, a file of the run folder: .work/checkpoints/NAME.KEY.safetensors."""

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

# Time between two checkpoints: this many times the time that writing one takes, but at least CHECKPOINT_SECONDS.
CHECKPOINT_COST_FACTOR = 20
CHECKPOINT_SECONDS = 10.0  # the variable below overrides it; 0: after every epoch
CHECKPOINT_SECONDS_VARIABLE = "TMREPRO_CHECKPOINT_SECONDS"
DIGEST_BYTES = 32


class Checkpoint:
    """The checkpoint file of one training. It is written at intervals, and read when a run continues."""

    def __init__(self, run: Path, name: str, *, key: str) -> None:
        self.relative = f"{WORK}/checkpoints/{name}.{key[:16]}.safetensors"
        self._work = work_folder(run)
        self._path = run / self.relative
        self.seconds = _checkpoint_seconds()
        self._next = time.monotonic() + self.seconds

    def save(self, pack: Callable[[], bytes]) -> None:
        """Write what `pack` returns if the interval is over."""
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
        """Return the last checkpoint, sealed; None if it is missing or damaged."""
        data = self.load()
        return None if data is None else sealed(data)

    def load(self) -> bytes | None:
        """Return the last checkpoint; None if it is missing or damaged."""
        return read_checkpoint(self._path)

    def remove(self) -> None:
        """Remove the file, after the end of the training."""
        remove(self._path)


def sealed(data: bytes) -> bytes:
    """Return a checkpoint with its SHA-256 in front."""
    return hashlib.sha256(data).digest() + data


def read_checkpoint(path: Path) -> bytes | None:
    """Return the data of a sealed checkpoint; None if the file is missing or damaged."""
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
