"""All random numbers of an epoch. They depend on (seed, epoch) alone, so a checkpoint need not keep the state of generators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor


def epoch_order(n: int, *, seed: int, epoch: int) -> Int64[Tensor, " n"]:
    """Return the order of the images in epoch `epoch` (from 1), which depends on the arguments alone."""
    order = np.random.Generator(np.random.Philox(key=seed + (epoch << 64))).permutation(n)
    return torch.from_numpy(order.astype(np.int64, copy=False))


@contextmanager
def layers_drawing(seed: int, epoch: int, *, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators, from which layers draw, by (seed, epoch). Restore them after the body."""
    state = int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        torch.default_generator.manual_seed(state)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(state)
        yield
