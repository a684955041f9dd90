"""A history that looks like what a run gives."""

from __future__ import annotations

import pytest

from tmrepro.records import Epoch, History


@pytest.fixture
def history() -> History:
    """Twelve epochs whose training loss falls by half each."""
    return History(
        tuple(
            Epoch(
                epoch=number,
                train_loss=2.0 * 0.5**number,
                train_accuracy=1 - 0.5**number,
                validation_loss=max(0.3, 2.2 * 0.5**number),
                validation_accuracy=0.9 - 0.5**number / 2,
                lr=0.01,
                seconds=0.25 * number,
            )
            for number in range(1, 13)
        )
    )
