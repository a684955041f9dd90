"""`python -m tmrepro.numerics.fingerprint_worker THREADS [CORES]`: prints the numerical fingerprint as JSON.

`tmrepro doctor` starts it under `portable` determinism.

This is a separate process, because the settings are fixed when torch is imported. CORES limits the visible cores.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from tmrepro.numerics.determinism import Determinism, apply, prepare


def probe(*, threads: int) -> dict[str, Any]:
    """Prepare this process, load torch, and compute the fingerprint twice."""
    level = Determinism("portable", threads)
    prepare(level)
    import torch

    from tmrepro.numerics.fingerprint import fingerprint, torch_release

    apply(level)
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    first = fingerprint()
    return {
        "torch": torch_release(),
        "torch_build": torch.__version__,
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "fingerprint": first,
        "repeats": fingerprint() == first,
        "gpus": devices if torch.cuda.is_available() else [],
    }


def main(arguments: list[str]) -> None:
    """Print the fingerprint for the arguments THREADS [CORES]."""
    if len(arguments) > 1:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(arguments[1])])
    print(json.dumps(probe(threads=int(arguments[0]))))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
