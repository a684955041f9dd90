"""The levels of determinism: settings that make results bitwise identical.

The libraries below torch and NumPy read their settings from the environment once, when they are loaded or before. So
`prepare` must not import torch, and `settle` tells a command whether to restart. `apply` makes the settings that torch
accepts later. A caller's own settings of these libraries are ignored: some change bits, and with OMP_THREAD_LIMIT=1
some sums of torch are wrong.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from tmrepro.errors import LoadedTooEarlyError

Level = Literal["portable", "machine", "fast"]
LEVELS: tuple[Level, ...] = get_args(Level)

# All three are needed, none alone is enough: instruction sets of torch's own kernels, of oneDNN, and of MKL.
PORTABLE_ENVIRONMENT = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE"}
CUDA_ENVIRONMENT = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
# Numba's results are bitwise identical on every processor. With these settings, its code is too.
NUMBA_ENVIRONMENT = {
    "NUMBA_CPU_NAME": "x86-64-v3",
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+popcnt,+sse3,+sse4.1,+sse4.2,+ssse3",
}
# NumPy draws figures and moves vectors. Newer instruction sets save no time there, so every level uses the oldest.
NUMPY_ENVIRONMENT = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
}
# Prefixes of the settings of OpenMP (two implementations), MKL, oneDNN (two names), torch, cuBLAS, NumPy and its BLAS, zarr
# and numba (but the user chooses the folder of numba's cache).
FOREIGN = re.compile(
    r"(OMP|GOMP|KMP|MKL|ONEDNN|DNNL|ATEN|CUBLAS|NPY|OPENBLAS|ZARR|NUMBA(?!_CACHE_DIR$))_"
    r"|(TORCH_ALLOW_TF32_CUBLAS|NVIDIA_TF32)_OVERRIDE$"
)
# With fewer threads than it expects, torch sums memory that no thread has written.
HARMFUL = ("OMP_THREAD_LIMIT", "OMP_MAX_ACTIVE_LEVELS")
REPLACED = "TMREPRO_REPLACED"  # names of the caller's settings that a command replaced, for `tmrepro doctor`
_READ_AT_THE_START = ("PYTHONOPTIMIZE", "GLIBC_TUNABLES", "LD_PRELOAD")
_PRELOADED = re.compile(r"lib(iomp|gomp|omp|mkl|openblas|blas|blis|dnnl|m[.-])")


@dataclass(frozen=True)
class Determinism:
    """A level and the threads of each process."""

    level: Level
    threads: int


def environment(determinism: Determinism) -> dict[str, str]:
    """Return the variables that must be set before torch loads."""
    threads = str(determinism.threads)
    # OpenMP and MKL must not use fewer threads if fewer cores are visible: sums would be split differently.
    wanted = {
        "OMP_NUM_THREADS": threads,
        "OMP_DYNAMIC": "FALSE",
        "MKL_NUM_THREADS": threads,
        "MKL_DYNAMIC": "FALSE",
        # A waiting thread spins for microseconds, not milliseconds, before it sleeps. One process is as fast as before,
        # and two processes side by side no longer take several times as long as one after the other.
        "GOMP_SPINCOUNT": "5000",
        **CUDA_ENVIRONMENT,
    }
    return wanted | PORTABLE_ENVIRONMENT | NUMBA_ENVIRONMENT if determinism.level == "portable" else wanted


def prepare(determinism: Determinism) -> None:
    """Set the environment of this process for `determinism`.

    Raises:
        LoadedTooEarlyError: torch is already loaded with other settings, and the level is `portable`.
    """
    wanted = environment(determinism)
    if determinism.level == "portable" and "torch" in sys.modules:
        differing = sorted(name for name, value in PORTABLE_ENVIRONMENT.items() if os.environ.get(name) != value)
        harmful = [name for name in HARMFUL if name in os.environ]
        if differing or harmful:
            settings = [f"{name}={PORTABLE_ENVIRONMENT[name]}" for name in differing] + [
                f"no {name}" for name in harmful
            ]
            raise LoadedTooEarlyError(
                "torch was loaded before 'portable' determinism could be set: start Python with "
                f"{' '.join(settings)}, or set compute.determinism to machine",
                settled(os.environ, wanted),
            )
    _become(settled(os.environ, wanted))


def settled(given: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Return `given` with `wanted` and NumPy's settings, and without any other setting of these libraries."""
    kept = {name: value for name, value in given.items() if not FOREIGN.match(name)}
    return kept | _numpy_environment() | dict(wanted)


def started_with(given: Mapping[str, str]) -> dict[str, str]:
    """Return `given` without the forbidden settings that Python or the C library read at their start."""
    kept = {name: value for name, value in given.items() if name != "PYTHONOPTIMIZE"}
    if "glibc.cpu" in kept.get("GLIBC_TUNABLES", ""):
        del kept["GLIBC_TUNABLES"]
    libraries = re.split(r"[ :]+", kept.get("LD_PRELOAD", ""))
    harmless = [path for path in libraries if not _PRELOADED.match(path.rpartition("/")[2])]
    if harmless != libraries:
        kept["LD_PRELOAD"] = ":".join(harmless)
    return kept


def settle() -> dict[str, str] | None:
    """Remove the caller's settings of these libraries from this process, and return None.

    If it is too late for that, return the environment with which the command must start again. It is too late if NumPy or
    torch were loaded by code that Python runs at its start (sitecustomize, a .pth file), if Python was told to leave out
    assertions (some of zarr's do work), or if the C library was told to use other instructions or to load another OpenMP
    or MKL first.
    """
    ours = environment(Determinism("portable", 1)).keys() & os.environ.keys()
    target = started_with(settled(os.environ, {name: os.environ[name] for name in ours}))
    too_late = any(os.environ.get(name) != target.get(name) for name in _READ_AT_THE_START)
    replaced = [name for name, value in os.environ.items() if target.get(name) != value]
    if replaced:
        target[REPLACED] = " ".join(sorted({*replaced, *target.get(REPLACED, "").split()}))
    loaded = not {"numpy", "torch"}.isdisjoint(sys.modules)
    if too_late or (loaded and target != dict(os.environ)):
        return target
    _become(target)
    return None


def apply(determinism: Determinism) -> None:
    """Configure torch: threads, deterministic algorithms, no autotuning, no TF32. Imports torch."""
    import torch

    torch.set_num_threads(determinism.threads)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = determinism.level != "fast"
    # The same as use_deterministic_algorithms, which would also load the compiler and take a second longer.
    torch.set_deterministic_debug_mode("default" if determinism.level == "fast" else "error")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def reached(determinism: Determinism, *, device: str) -> Level:
    """Return the level that `device` can guarantee: CUDA cannot guarantee `portable`, only `machine`."""
    return "machine" if device != "cpu" and determinism.level == "portable" else determinism.level


def _numpy_environment() -> dict[str, str]:
    """Return NUMPY_ENVIRONMENT if its values are valid on this processor, else nothing."""
    return NUMPY_ENVIRONMENT if platform.machine() in {"x86_64", "AMD64"} else {}


def _become(target: Mapping[str, str]) -> None:
    """Make `target` the environment of this process."""
    for name in set(os.environ) - set(target):
        del os.environ[name]
    os.environ.update(target)
