"""Restores torch's settings and the random generators after a computation in the caller's process.

During the computation the caller's precision settings are ignored: float32 means float32, even if TF32 or autocast is on.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import torch

_BACKENDS: Any = torch.backends
# How each library under torch multiplies float32 numbers. Each library has its own setting.
_FLOAT32_ROOMS = (
    _BACKENDS.cuda.matmul,
    _BACKENDS.cudnn.conv,
    _BACKENDS.cudnn.rnn,
    _BACKENDS.mkldnn.matmul,
    _BACKENDS.mkldnn.conv,
    _BACKENDS.mkldnn.rnn,
)


@contextmanager
def undisturbed(*, device: torch.device, threads: int | None) -> Iterator[None]:
    """Run the body with `threads` threads (None: the present number), true float32, no autocast and no inference mode.

    Tensors of inference mode do not show changes. Afterwards, also after an interruption, restore threads, determinism,
    precision, and the states of the generators of torch (of the CPU and of `device`), NumPy and Python.
    """
    with ExitStack() as back:
        back.callback(torch.set_num_threads, torch.get_num_threads())
        back.callback(torch.set_deterministic_debug_mode, torch.get_deterministic_debug_mode())
        back.callback(random.setstate, random.getstate())
        back.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002 - the caller's generator
        back.enter_context(torch.random.fork_rng(devices=[device] if device.type == "cuda" else []))
        back.enter_context(torch.inference_mode(mode=False))
        back.enter_context(_true_float32())
        for kind in {device.type, "cpu"}:
            back.enter_context(torch.autocast(kind, enabled=False))
        if threads is not None:
            torch.set_num_threads(threads)
        yield


@contextmanager
def _true_float32() -> Iterator[None]:
    """Use true float32 products. Torch has two interfaces for this; if a caller mixed them, the older one cannot be read."""
    rooms = [room.fp32_precision for room in _FLOAT32_ROOMS]
    matmul: str | None = None
    cudnn: bool | None = None
    with suppress(RuntimeError):
        matmul = torch.get_float32_matmul_precision()
    with suppress(RuntimeError):
        cudnn = _BACKENDS.cudnn.allow_tf32
    try:
        if matmul is not None:
            torch.set_float32_matmul_precision("highest")
        if cudnn is not None:
            _BACKENDS.cudnn.allow_tf32 = False
        for room in _FLOAT32_ROOMS:
            room.fp32_precision = "ieee"
        yield
    finally:
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul)
        if cudnn is not None:
            _BACKENDS.cudnn.allow_tf32 = cudnn
        for room, precision in zip(_FLOAT32_ROOMS, rooms, strict=True):
            room.fp32_precision = precision
