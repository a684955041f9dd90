"""Learning rates against their closed forms, and the order of the images of each epoch."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.small import short
from tmrepro.spec import AdamOptimizer, AdamwOptimizer, SgdOptimizer, TrainingSpec
from tmrepro.training.draws import epoch_order
from tmrepro.training.optimizers import learning_rate, make_optimizer, set_learning_rate


def test_constant_rate_after_a_linear_warm_up() -> None:
    spec = short(optimizer=AdamOptimizer(lr=0.4), warmup_steps=4)
    found = [learning_rate(step, spec=spec, steps_per_epoch=3) for step in range(7)]
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4], rel=1e-15)


def test_no_warm_up_starts_at_the_rate_itself() -> None:
    assert learning_rate(0, spec=short(optimizer=AdamOptimizer(lr=0.4)), steps_per_epoch=3) == 0.4


@given(st.integers(0, 60), st.integers(0, 20), st.integers(1, 6), st.integers(1, 9))
def test_cosine_runs_from_the_rate_to_zero_between_the_warm_up_and_the_last_epoch(
    step: int, warmup: int, max_epochs: int, steps_per_epoch: int
) -> None:
    spec = TrainingSpec(optimizer=AdamOptimizer(lr=0.5), schedule="cosine", warmup_steps=warmup, max_epochs=max_epochs)
    found, total = learning_rate(step, spec=spec, steps_per_epoch=steps_per_epoch), max_epochs * steps_per_epoch
    if step < warmup:
        assert found == pytest.approx(0.5 * (step + 1) / warmup)
    elif step < total:
        # cos^2 of half the angle: the same curve, written otherwise.
        share = (step - warmup) / (total - warmup)
        assert found == pytest.approx(0.5 * math.cos(math.pi * share / 2) ** 2, abs=1e-15)
    elif total > warmup:
        assert found == pytest.approx(0, abs=1e-15)


@given(st.integers(1, 200), st.integers(0, 2**53 + 100_000_000), st.integers(1, 10**6))
def test_order_is_a_permutation_that_depends_on_seed_and_epoch_alone(n: int, seed: int, epoch: int) -> None:
    order = epoch_order(n, seed=seed, epoch=epoch)
    assert sorted(order.tolist()) == list(range(n))
    torch.manual_seed(epoch)
    assert torch.equal(order, epoch_order(n, seed=seed, epoch=epoch))


def test_orders_of_other_epochs_and_seeds_differ() -> None:
    orders = {
        tuple(epoch_order(40, seed=seed, epoch=epoch).tolist()) for seed in (0, 1, 2**40) for epoch in (1, 2, 3, 500)
    }
    assert len(orders) == 12


@pytest.mark.parametrize(
    ("optimizer", "kind", "expected"),
    [
        (
            AdamOptimizer(lr=0.3, betas=(0.8, 0.95), eps=1e-7, weight_decay=0.1),
            torch.optim.Adam,
            {"lr": 0.3, "betas": (0.8, 0.95), "eps": 1e-7, "weight_decay": 0.1, "fused": True},
        ),
        (
            AdamwOptimizer(name="adamw", lr=0.3, betas=(0.8, 0.95), eps=1e-7, weight_decay=0.1),
            torch.optim.AdamW,
            {"lr": 0.3, "betas": (0.8, 0.95), "eps": 1e-7, "weight_decay": 0.1, "fused": True},
        ),
        (
            SgdOptimizer(name="sgd", lr=0.3, momentum=0.9, weight_decay=0.1),
            torch.optim.SGD,
            {"lr": 0.3, "momentum": 0.9, "weight_decay": 0.1, "fused": True},
        ),
    ],
)
def test_optimizers_have_the_specs_constants_and_are_fused(
    optimizer: AdamOptimizer | AdamwOptimizer | SgdOptimizer,
    kind: type,
    expected: dict[str, object],
) -> None:
    made = make_optimizer(torch.nn.Linear(2, 1), short(optimizer=optimizer))
    assert type(made) is kind
    assert {key: made.param_groups[0][key] for key in expected} == expected
    set_learning_rate(made, 0.07)
    assert made.param_groups[0]["lr"] == 0.07
