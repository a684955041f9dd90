"""The kernels of a GPU, as they describe themselves, in torch."""

from __future__ import annotations

import torch
from torch import Tensor

from tmrepro.surface.gpu import gpu_kernels
from tmrepro.surface.gpu.fused_layers import round_tf32


def layer(
    x: Tensor,
    weights: Tensor,
    bias: Tensor,
    *,
    addend: Tensor | None = None,
    second: Tensor | None = None,
    taps: Tensor,
    counts: Tensor,
    relu: bool,
    tf32: bool,
) -> Tensor:
    """Return what `gpu_kernels.apply_layer` says of itself."""
    (C, _, N), O = x.shape, len(bias)  # noqa: E741 - the kernel's names
    assert N % gpu_kernels.IMAGES == 0
    assert weights.shape[1] == gpu_kernels.columns_of(O)
    assert not weights[:, O:].any()
    out = torch.empty(O, len(counts), N, device=x.device)
    for q, count in enumerate(counts.tolist()):
        total = bias.double()[:, None].repeat(1, N)
        for t, (place, tap) in enumerate(taps[q, :count].tolist()):
            read = x if second is None or t < count - 1 else second
            total += weights[tap * C : tap * C + len(read), :O].double().T @ read[:, place].double()
        out[:, q] = total if addend is None else total + addend[:, q]
    out = out.relu_() if relu else out
    if tf32:
        round_tf32(out)
    return out


def largest(x: Tensor, taps: Tensor, counts: Tensor) -> Tensor:
    """Return what `gpu_kernels.take_largest` says of itself."""
    each = [x[:, taps[q, :count, 0].long()].amax(1) for q, count in enumerate(counts.tolist())]
    return torch.stack(each, 1)
