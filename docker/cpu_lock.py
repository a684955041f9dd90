"""Split a lock for an image without CUDA: torch and torchvision, whose hashes are those of the CUDA builds, and the rest.

    python3 cpu_lock.py LOCK REST TORCH

REST gets every other requirement with its hashes, but what only CUDA needs; TORCH gets the two, by version alone, to be
installed from an index of CPU builds, whoever keeps it, with --no-deps.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

TORCH = ("torch", "torchvision")
CUDA = re.compile(r"(nvidia|cuda)-|triton$")


def split(lock: str) -> tuple[str, str]:
    """The rest, and torch's lines. A requirement of a lock is a line that isn't indented, and its hashes below it.

    Raises:
        ValueError: torch or torchvision is not in `lock`.
    """
    rest, torch = [], []
    for block in re.split(r"^(?=\S)", lock, flags=re.MULTILINE):
        name = block.partition("==")[0].strip()
        if name in TORCH:
            torch.append(re.split(r"[ ;\\]", block, maxsplit=1)[0])
        elif not CUDA.match(name):
            rest.append(block)
    if len(torch) != len(TORCH):
        raise ValueError(f"expected {' and '.join(TORCH)} in the lock, found {torch}")
    return "".join(rest), "".join(f"{line}\n" for line in torch)


if __name__ == "__main__":
    lock, rest, torch = map(Path, sys.argv[1:])
    for path, text in zip((rest, torch), split(lock.read_text(encoding="utf-8")), strict=True):
        path.write_text(text, encoding="utf-8")
