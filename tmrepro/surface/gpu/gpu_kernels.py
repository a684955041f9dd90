"""The kernels of fused.cu. NVRTC, which comes with torch, compiles them when a surface first needs them.

Values are [channels, places, images]: places are row by row, images innermost, and their number is a multiple of `IMAGES`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float32, Int32
from torch import Tensor

IMAGES = 256  # a multiple of the images in a block of each kernel
CAPABILITY = (8, 0)  # the first GPUs with background copies to shared memory, and products in TF32

_THREADS = 256
_STEP, _STAGES = 16, 3  # summands at a time, and the number of such steps in progress
_SKEW = 8  # of rows in shared memory, with TF32


def why_unsupported(device: torch.device) -> str | None:
    """Return why these kernels cannot run on `device`; None if they can."""
    if device.type != "cuda":
        return f"its kernels are for GPUs, not for the {device.type}"
    if not hasattr(torch.cuda, "_compile_kernel") or torch.version.hip is not None:
        return "this torch compiles no kernels for NVIDIA's GPUs"
    if torch.cuda.get_device_capability(device) < CAPABILITY:
        return f"the GPU is older than compute capability {CAPABILITY[0]}.{CAPABILITY[1]}"
    return None


def tile_of(outputs: int) -> tuple[int, int]:
    """Return how many outputs and images a block of `apply_layer` computes, in a layer with `outputs` outputs."""
    return (128, 128) if outputs > 64 else (64, IMAGES) if outputs > 32 else (32, IMAGES)


def columns_of(outputs: int) -> int:
    """Return how many columns the weights have, for a layer with `outputs` outputs: whole tiles."""
    tile, _ = tile_of(outputs)
    return -(-outputs // tile) * tile


def layer_name(outputs: int, *, tf32: bool, two: bool) -> str:
    """Return the C++ name of the kernel for layers with `outputs` outputs and one or two inputs."""
    tile, across = tile_of(outputs)
    return f"layer<{tile}, {across}, {_STEP}, {_STAGES}, {str(tf32).lower()}, {str(two).lower()}>"


def apply_layer(
    x: Float32[Tensor, "C P N"],
    weights: Float32[Tensor, "rows columns"],
    bias: Float32[Tensor, " O"],
    *,
    addend: Float32[Tensor, "O Q N"] | None = None,
    second: Float32[Tensor, "C2 P2 N"] | None = None,
    taps: Int32[Tensor, "Q T 2"],
    counts: Int32[Tensor, " Q"],
    relu: bool,
    tf32: bool,
) -> Float32[Tensor, "O Q N"]:
    """Return a convolution or matrix product, plus its bias and `addend`, after a ReLU if `relu`.

    For place q and t < `counts[q]`, `taps[q, t]` is the input place that a tap reads, and the index of the tap's C rows in the
    weights. With a `second` input there is no addend: the last tap of every place reads that input, with the last C2 rows.
    Weights have zero columns up to `columns_of(O)`. Sums are float32. With `tf32` the factors, which must have TF32's 10 bits
    already, are multiplied on tensor cores, and the outputs are rounded to TF32.
    """
    (C, P, N), (Q, T, _), O = x.shape, taps.shape, len(bias)  # noqa: E741 - the kernel's names
    if N % IMAGES or weights.shape[1] != columns_of(O):
        raise ValueError(f"{N} images or {weights.shape[1]} columns of weights do not fit this kernel")
    if addend is not None and second is not None:
        raise ValueError("this kernel takes an addend or a second input, not both")
    more = addend if second is None else second
    x, more = x.contiguous(), bias if more is None else more.contiguous()  # without an addend, any pointer is accepted
    C2, P2 = (0, 0) if second is None else second.shape[:2]
    out = torch.empty(O, Q, N, device=x.device)
    tile, across = tile_of(O)
    name = layer_name(O, tf32=tf32, two=second is not None)
    shared = 4 * _STAGES * _STEP * (tile + across + (2 * _SKEW if tf32 else 0))
    sizes = [T, C, P, O, Q, N, C2, P2, int(addend is not None), int(relu)]
    with torch.cuda.device(x.device):
        _kernel(name, shared, x.device)(
            (N // across * Q * (weights.shape[1] // tile), 1, 1),
            (_THREADS, 1, 1),
            [out, x, weights, bias, more, taps, counts, *sizes],
            shared_mem=shared,
        )
    return out


def take_largest(
    x: Float32[Tensor, "C P N"], taps: Int32[Tensor, "Q T 2"], counts: Int32[Tensor, " Q"]
) -> Float32[Tensor, "C Q N"]:
    """Return the largest value among the places of each place of the result; nan if one of them is nan."""
    (C, P, N), (Q, T, _) = x.shape, taps.shape
    x, out = x.contiguous(), torch.empty(C, Q, N, device=x.device)
    with torch.cuda.device(x.device):
        blocks = -(-out.numel() // (4 * _THREADS))
        _kernel("largest", 0, x.device)(
            (blocks, 1, 1), (_THREADS, 1, 1), [out, x, taps, counts, T, C, P, Q, N], shared_mem=0
        )
    return out


@lru_cache
def _kernel(name: str, shared: int, device: torch.device) -> Any:  # noqa: ARG001 - a kernel belongs to a device
    with _without_a_toolkit():
        kernel: Any = torch.cuda._compile_kernel(source(), name)  # noqa: SLF001 - torch has no public function
    kernel.set_shared_memory_config(shared)
    return kernel


@contextmanager
def _without_a_toolkit() -> Iterator[None]:
    """Let torch compile without CUDA's toolkit. It would fail without the headers, which these kernels do not need."""
    extension: Any = importlib.import_module("torch.utils.cpp_extension")
    home = extension.CUDA_HOME
    extension.CUDA_HOME = home or "/usr"  # torch omits the headers of this folder
    try:
        yield
    finally:
        extension.CUDA_HOME = home


def source() -> str:
    """Return the kernels, in CUDA C++."""
    here = Path(__file__)
    return "\n".join(here.with_name(name).read_text(encoding="utf-8") for name in ("fused_instructions.cu", "fused.cu"))
