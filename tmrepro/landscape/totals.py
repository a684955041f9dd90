"""Losses that return (total, count) for a batch: the sum of its terms and their number, for example without padding tokens.

S is the sum of all totals divided by the sum of all counts. It differs from the mean of batch means if counts differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tmrepro.errors import UsageError
from tmrepro.numerics.inference import EVALUATION_BATCH, Targets
from tmrepro.surface.trace import away

SAME_COUNT = 1e-6  # largest relative difference of sums of counts in float32
REACH = 1.0  # distance from theta*, in root mean squares of each parameter
SAME_TOTAL = 1e-3  # largest relative difference of totals, of float32 outputs


class TotalLoss(nn.Module):
    """A loss with totals as one number per input, equal within a batch, whose sum is the batch's share of n S.

    It is called with the positions [n, 1] of the targets, since it must know their number of terms. A count may depend on
    targets, but not on outputs.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Any], targets: Tensor) -> None:
        super().__init__()
        self.loss = loss
        self.register_buffer("targets", targets, persistent=False)
        self.register_buffer(
            "terms", torch.zeros(len(targets), dtype=torch.float64, device=targets.device), persistent=False
        )
        self.factor = 1.0

    def forward(self, outputs: Tensor, positions: Tensor) -> Tensor:
        """Return losses [n].

        Raises:
            UsageError: the count differs from that of the same targets at theta*.
        """
        rows = positions[:, 0]
        total, count = self.of(outputs, rows)
        expected = float(self.get_buffer("terms")[rows].sum())
        if not abs(float(count) - expected) <= SAME_COUNT * expected:
            raise UsageError(
                f"loss: gives {float(count):g} as the number of terms, and gave {expected:g} for the same targets at theta*; it "
                "must not depend on the outputs"
            )
        return (total * (self.factor / len(outputs))).expand(len(outputs))

    def of(self, outputs: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return total and count of the targets at `rows`, in float64."""
        total, count = self.loss(outputs.clone(), self.get_buffer("targets")[rows].clone())
        return torch.as_tensor(total).double().reshape(()), torch.as_tensor(count).double().reshape(())


def is_total(found: object) -> bool:
    """Return whether a loss returned a pair of single numbers."""
    return (
        isinstance(found, tuple | list)
        and len(found) == 2
        and isinstance(found[0], float | Tensor)
        and all(isinstance(part, int | float) or (isinstance(part, Tensor) and part.numel() == 1) for part in found)
    )


def total_targets(loss: Callable[[Tensor, Tensor], Any], targets: Tensor, model: nn.Module, inputs: Tensor) -> Targets:
    """Return all `targets` [n, ...] with such a loss. The counts are computed one by one from the network's outputs at theta*.

    Raises:
        UsageError: the loss fails on one input alone, or a batch's total is not the sum of its inputs' totals.
    """
    made, positions = TotalLoss(loss, targets), torch.arange(len(targets), device=targets.device)
    batches = torch.split(positions, EVALUATION_BATCH)
    terms = torch.cat([_counts(made, model, inputs, rows) for rows in batches])
    with away(model, reach=REACH):  # at theta*, a total may be 0 and equal a mean
        _counts(made, model, inputs, batches[0])
    if not float(terms.sum()) > 0:
        raise UsageError("loss: gives 0 as the number of terms for all targets, so there is no mean loss")
    made.get_buffer("terms").copy_(terms)
    made.factor = len(targets) / float(terms.sum())
    return Targets(positions[:, None], loss=made)


def _counts(made: TotalLoss, model: nn.Module, inputs: Tensor, rows: Tensor) -> Tensor:
    """Return the number of terms of each input of a batch. Raise unless the totals of the inputs sum to the batch's."""
    with torch.no_grad():
        outputs = model(inputs[rows].clone())
        singles = [_single(made, outputs[place : place + 1], rows[place : place + 1]) for place in range(len(rows))]
        totals, counts = (torch.stack(parts) for parts in zip(*singles, strict=True))
        total, count = made.of(outputs, rows)
    _check_sums(float(total), totals, float(count), counts)
    return counts


def _single(made: TotalLoss, outputs: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    try:
        return made.of(outputs, rows)
    except Exception as error:
        raise UsageError(
            f"loss: fails on one input alone ({type(error).__name__}: {error}); one that gives (total, count) must take a batch "
            "of any size"
        ) from error


def _check_sums(total: float, totals: Tensor, count: float, counts: Tensor) -> None:
    if not bool((counts >= 0).all()):
        raise UsageError("loss: gives a number of terms that is negative or nan")
    if not abs(count - float(counts.sum())) <= SAME_COUNT * count:
        raise UsageError(
            f"loss: gives {count:g} as the number of terms of a batch, whose inputs have {float(counts.sum()):g}; "
            "expected (total, count) of the same terms"
        )
    finite = bool(totals.isfinite().all())
    if finite and not abs(total - float(totals.sum())) <= SAME_TOTAL * float(totals.abs().sum()):
        raise UsageError(
            f"loss: gives {total:g} as the total of a batch, whose inputs have {float(totals.sum()):g}; expected the sum of the "
            "terms, not their mean: (mean * count, count)"
        )
