"""Decides whether a point is an LM or a GM. This is the paper's Table 1, with "~" read as: within epsilon.

All functions depend on the training losses T_1 .. T_n alone, so a stored history can be judged again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tmrepro.spec import AveragingSpec


@dataclass(frozen=True)
class Conditions:
    """First epochs (from 1) at which a condition held, or None; and whether the LM's own rule holds at the last epoch.

    A GM is an LM too, so `lm_first_epoch` is never after `gm_first_epoch`. `lm_at_end` uses the rule of the LM alone, because a
    GM that eval mode does not confirm is ignored.
    """

    lm_first_epoch: int | None
    gm_first_epoch: int | None
    lm_at_end: bool
    gm_at_end: bool


def is_lm(losses: Sequence[float], *, epsilon: float, patience: int, warmup_epochs: int) -> bool:
    """Return whether the training loss hardly changes any more, judged at the last epoch.

    The lowest T of the last `patience` epochs is at most `epsilon` below the lowest before them. Epochs with a warm-up step
    (the first `warmup_epochs`) are ignored. Two epochs can be close by chance, so one pair is not enough.
    """
    settled = losses[warmup_epochs:]
    before, last = settled[:-patience], settled[-patience:]
    return len(before) > 0 and min(last) >= min(before) - epsilon


def is_gm(losses: Sequence[float], *, epsilon: float) -> bool:
    """Return whether the training loss is about zero twice in a row, judged at the last epoch."""
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
    """Return the epoch (from 1) of theta*: the first with the lowest T, or the last one if weights are averaged."""
    if averaging is not None and len(losses) >= averaging.start:
        return len(losses)
    return min(range(len(losses)), key=lambda index: losses[index]) + 1


def warmup_epochs(*, warmup_steps: int, steps_per_epoch: int) -> int:
    """Return the number of epochs that have a warm-up step."""
    return -(-warmup_steps // steps_per_epoch)
