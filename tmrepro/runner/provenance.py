"""Code, packages, platform and device of a run: the part in which runs on two machines may differ."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tmrepro.numerics.determinism import Determinism, environment, reached, settled
from tmrepro.numerics.fingerprint import fingerprint

PACKAGES = (
    "tmrepro", "torch", "torchvision", "numpy", "scipy", "gudhi", "zarr", "numcodecs", "safetensors", "matplotlib",
    "pillow", "pydantic", "scikit-learn", "xarray", "rocrate",
)  # fmt: skip


def package_versions() -> dict[str, str]:
    """Return the version of each package whose version can affect a byte of the result."""
    return {name: metadata.version(name) for name in PACKAGES}


def stage_platform(device: torch.device, *, determinism: Determinism) -> dict[str, Any]:
    """Return what every stage depends on besides the spec: code, packages that compute, device and determinism.

    Only `portable` gives bitwise identical results on another processor. At other levels, a run that moves to one starts anew.
    """
    return {
        "machine": platform.machine(),
        "processor": None if determinism.level == "portable" else _processor(),
        "tmrepro": metadata.version("tmrepro"),
        "torch": str(torch.__version__),  # a plain string, as JSON gives it back; torch has its own class
        "numpy": np.__version__,
        "device": device_name(device),
        "determinism": determinism.level,
        "threads": determinism.threads,
    }


def platform_facts(device: torch.device, *, determinism: Determinism) -> dict[str, Any]:
    """Return Python, operating system, processor, device, and the determinism that was requested and reached."""
    wanted = settled({}, environment(determinism))
    devices = {torch.device("cpu"), torch.device(device.type)}
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores_visible": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": device_name(device),
        "determinism": {
            "asked": determinism.level,
            "reached": reached(determinism, device=device.type),
            "threads": determinism.threads,
            "environment": {name: os.environ.get(name) for name in wanted},
        },
        # A run on a GPU also computes on the CPU: initial weights, directions, statistics.
        "fingerprint": {kind.type: fingerprint(kind) for kind in sorted(devices, key=str)},
    }


def device_name(device: torch.device) -> str:
    """Return "cpu", or the GPU's own name."""
    return "cpu" if device.type == "cpu" else f"{device.type}: {torch.cuda.get_device_name(device)}"


def code_facts() -> dict[str, Any]:
    """Return version and commit of tmrepro. The commit is None if neither git nor TMREPRO_REVISION gives it."""
    return {"version": metadata.version("tmrepro"), "commit": os.environ.get("TMREPRO_REVISION") or _git_commit()}


def _git_commit() -> str | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        found = subprocess.run(  # noqa: S603
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
