"""Which bits a machine may differ in, and how the levels of design section 7 rule that out.

`prepare` sets environment variables, which count only before torch loads, so it must not import torch; `apply` sets what
torch takes later.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Literal

from tmrepro.errors import UsageError

Level = Literal["portable", "machine", "fast"]

# All three are needed, none alone is enough: instruction sets of torch's own kernels, of oneDNN, and of MKL.
PORTABLE_ENVIRONMENT = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE"}
CUDA_ENVIRONMENT = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


@dataclass(frozen=True)
class Determinism:
    """A level and the threads of each process."""

    level: Level
    threads: int


def environment(determinism: Determinism) -> dict[str, str]:
    """The variables that must be set before torch loads."""
    threads = str(determinism.threads)
    # OpenMP and MKL must not use fewer threads where fewer cores are visible: sums would be split elsewhere.
    wanted = {
        "OMP_NUM_THREADS": threads,
        "OMP_DYNAMIC": "FALSE",
        "MKL_NUM_THREADS": threads,
        "MKL_DYNAMIC": "FALSE",
        **CUDA_ENVIRONMENT,
    }
    return wanted | PORTABLE_ENVIRONMENT if determinism.level == "portable" else wanted


def prepare(determinism: Determinism) -> None:
    """Set the environment of this process for `determinism`.

    Raises:
        UsageError: torch is already loaded with other settings, and the level is `portable`.
    """
    wanted = environment(determinism)
    if determinism.level == "portable" and "torch" in sys.modules:
        differing = sorted(name for name, value in PORTABLE_ENVIRONMENT.items() if os.environ.get(name) != value)
        if differing:
            settings = " ".join(f"{name}={PORTABLE_ENVIRONMENT[name]}" for name in differing)
            raise UsageError(
                "torch was loaded before 'portable' determinism could be set: start Python with "
                f"{settings}, or set compute.determinism to machine"
            )
    os.environ.update(wanted)


def apply(determinism: Determinism) -> None:
    """Make torch itself obey: threads, deterministic algorithms, no autotuning, no TF32. Loads torch."""
    import torch

    torch.set_num_threads(determinism.threads)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = determinism.level != "fast"
    torch.use_deterministic_algorithms(determinism.level != "fast")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def reached(determinism: Determinism, *, device: str) -> Level:
    """The level that `device` can promise: CUDA cannot promise `portable`, only `machine`."""
    return "machine" if device != "cpu" and determinism.level == "portable" else determinism.level
