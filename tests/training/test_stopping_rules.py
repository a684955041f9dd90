"""LM and GM as the design words them, read slowly: every rule is written again here, epoch by epoch, with plain loops."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrepro.training import conditions
from tmrepro.training.stopping import best_epoch, is_gm, is_lm, warmup_epochs

# Sixteenths: sums and differences are exact, so that "not more than epsilon" has one answer.
LOSSES = st.lists(st.integers(0, 40).map(lambda sixteenths: sixteenths / 16), max_size=16)
EPSILONS = st.integers(1, 16).map(lambda sixteenths: sixteenths / 16)


def literal_lm(losses: list[float], *, epsilon: float, patience: int, warmup: int) -> bool:
    """The lowest T of the last `patience` epochs is not more than epsilon below the lowest before them."""
    epochs = [(number, Fraction(loss)) for number, loss in enumerate(losses, start=1) if number > warmup]
    last_ones = {number for number in range(len(losses) - patience + 1, len(losses) + 1) if number > 0}
    last = [loss for number, loss in epochs if number in last_ones]
    before = [loss for number, loss in epochs if number not in last_ones]
    if len(last) < patience or not before:
        return False
    return not min(before) - min(last) > Fraction(epsilon)


def literal_gm(losses: list[float], *, epsilon: float) -> bool:
    """T_{i-1} <= epsilon and T_i <= epsilon."""
    i = len(losses)
    return i >= 2 and losses[i - 2] <= epsilon and losses[i - 1] <= epsilon


@given(LOSSES, EPSILONS, st.integers(1, 6), st.integers(0, 6))
def test_lm_is_the_designs_sentence(losses: list[float], epsilon: float, patience: int, warmup: int) -> None:
    found = is_lm(losses, epsilon=epsilon, patience=patience, warmup_epochs=warmup)
    assert found == literal_lm(losses, epsilon=epsilon, patience=patience, warmup=warmup)


@given(LOSSES, EPSILONS)
def test_gm_is_two_epochs_in_a_row_at_most_epsilon(losses: list[float], epsilon: float) -> None:
    assert is_gm(losses, epsilon=epsilon) == literal_gm(losses, epsilon=epsilon)


@given(LOSSES, EPSILONS, st.integers(1, 6), st.integers(0, 6))
def test_conditions_judge_every_epoch_and_a_gm_is_an_lm_too(
    losses: list[float], epsilon: float, patience: int, warmup: int
) -> None:
    held = conditions(losses, epsilon=epsilon, patience=patience, warmup_epochs=warmup)
    numbers = range(1, len(losses) + 1)
    gms = [i for i in numbers if literal_gm(losses[:i], epsilon=epsilon)]
    lms = [i for i in numbers if literal_lm(losses[:i], epsilon=epsilon, patience=patience, warmup=warmup)]
    assert held.gm_first_epoch == min(gms, default=None)
    assert held.lm_first_epoch == min([*gms, *lms], default=None)
    assert held.gm_at_end == (len(losses) in gms)
    assert held.lm_at_end == (len(losses) in lms)


def test_patience_edges() -> None:
    """With patience 3, epoch 4 is the first that can be an LM: one epoch before, three after."""
    losses = [1.0, 1.0, 1.0, 1.0]
    found = [is_lm(losses[:n], epsilon=0.1, patience=3, warmup_epochs=0) for n in range(5)]
    assert found == [False, False, False, False, True]


def test_warm_up_epochs_belong_to_neither_side() -> None:
    """The loss of the warm-up, lower here by chance, must neither count as before nor as last."""
    losses = [0.1, 2.0, 1.0, 1.0]
    assert not is_lm(losses, epsilon=0.1, patience=2, warmup_epochs=1)
    assert is_lm(losses, epsilon=0.1, patience=2, warmup_epochs=0)
    assert is_lm([*losses, 1.0], epsilon=0.1, patience=2, warmup_epochs=1)


def test_a_rise_of_the_loss_is_an_lm_since_nothing_was_gained() -> None:
    assert is_lm([1.0, 5.0, 6.0], epsilon=0.1, patience=2, warmup_epochs=0)


def test_slow_descent_is_no_lm_if_patience_sees_more_than_epsilon() -> None:
    losses = [2 - 0.03 * epoch for epoch in range(20)]
    assert is_lm(losses, epsilon=0.05, patience=1, warmup_epochs=0)
    assert not is_lm(losses, epsilon=0.05, patience=10, warmup_epochs=0)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=12))
def test_best_epoch_is_the_first_of_the_lowest(losses: list[float]) -> None:
    best = best_epoch(losses)
    assert all(loss >= losses[best - 1] for loss in losses)
    assert all(loss > losses[best - 1] for loss in losses[: best - 1])


@pytest.mark.parametrize(
    ("warmup_steps", "steps_per_epoch", "epochs"), [(0, 7, 0), (1, 7, 1), (7, 7, 1), (8, 7, 2), (40, 4, 10), (3, 1, 3)]
)
def test_an_epoch_with_one_warm_up_step_is_a_warm_up_epoch(
    warmup_steps: int, steps_per_epoch: int, epochs: int
) -> None:
    assert warmup_epochs(warmup_steps=warmup_steps, steps_per_epoch=steps_per_epoch) == epochs
    touched = {step // steps_per_epoch for step in range(warmup_steps)}
    assert len(touched) == epochs
