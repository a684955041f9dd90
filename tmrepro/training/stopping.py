"""When is a point an LM or a GM? The paper's Table 1, with "~" read as: within epsilon.

Everything here is a pure function of the training losses T_1 .. T_n, so that anyone can judge a stored history again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tmrepro.spec import AveragingSpec


@dataclass(frozen=True)
class Conditions:
    """First epochs (from 1) at which a condition held, None for never; and whether its own rule holds at the last.

    A GM is an LM too, so `lm_first_epoch` is never after `gm_first_epoch`; `lm_at_end` is the LM's rule alone, since a GM
    that eval mode does not confirm counts for nothing.
    """

    lm_first_epoch: int | None
    gm_first_epoch: int | None
    lm_at_end: bool
    gm_at_end: bool


def is_lm(losses: Sequence[float], *, epsilon: float, patience: int, warmup_epochs: int) -> bool:
    """More training hardly changes the training loss, judged at the last epoch.

    The lowest T of the last `patience` epochs is not more than `epsilon` below the lowest before them. Epochs with a
    warm-up step (the first `warmup_epochs`) belong to neither side: a single pair of close epochs happens by chance.
    """
    settled = losses[warmup_epochs:]
    before, last = settled[:-patience], settled[-patience:]
    return len(before) > 0 and min(last) >= min(before) - epsilon


def is_gm(losses: Sequence[float], *, epsilon: float) -> bool:
    """The training loss is about zero, twice in a row, judged at the last epoch."""
    return len(losses) > 1 and losses[-2] <= epsilon and losses[-1] <= epsilon


def conditions(losses: Sequence[float], *, epsilon: float, patience: int, warmup_epochs: int) -> Conditions:
    """Judge every epoch of a history."""
    lm_first = gm_first = None
    lm = gm = False
    for epoch in range(1, len(losses) + 1):
        gm = is_gm(losses[:epoch], epsilon=epsilon)
        lm = is_lm(losses[:epoch], epsilon=epsilon, patience=patience, warmup_epochs=warmup_epochs)
        gm_first = epoch if gm and gm_first is None else gm_first
        lm_first = epoch if (lm or gm) and lm_first is None else lm_first
    return Conditions(lm_first, gm_first, lm, gm)


def best_epoch(losses: Sequence[float], *, averaging: AveragingSpec | None = None) -> int:
    """The epoch (from 1) of theta*: that of lowest T, the first of equals; the last one where weights are averaged up to it."""
    if averaging is not None and len(losses) >= averaging.start:
        return len(losses)
    return min(range(len(losses)), key=lambda index: losses[index]) + 1


def warmup_epochs(*, warmup_steps: int, steps_per_epoch: int) -> int:
    """How many epochs hold a warm-up step."""
    return -(-warmup_steps // steps_per_epoch)
