"""Draws are stratified, disjoint, in a seeded order, and anybody can redo them from Philox's raw numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrepro.data.subset import checked_count, draw, draw_two, quotas
from tmrepro.errors import UsageError

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(lambda values: np.array(values, dtype=np.int64))
SEEDS = st.integers(0, 2**32)


def draw_by_hand(labels: list[int], count: int, seed: int) -> list[int]:
    """The three steps of subset.py's docstring, picture by picture."""
    raw = [int(number) for number in np.random.Philox(key=seed).random_raw(2 * len(labels))]
    tickets, places = raw[: len(labels)], raw[len(labels) :]
    classes = sorted(set(labels))
    shares = {c: Fraction(labels.count(c) * count, len(labels)) for c in classes}
    quota = {c: int(shares[c]) for c in classes}
    for c in sorted(classes, key=lambda c: (quota[c] - shares[c], c))[: count - sum(quota.values())]:
        quota[c] += 1
    drawn = []
    for c in classes:
        members = sorted((i for i, label in enumerate(labels) if label == c), key=lambda i: tickets[i])
        drawn += members[: quota[c]]
    return sorted(drawn, key=lambda i: places[i])


@given(labels=LABELS, seed=SEEDS, data=st.data())
def test_draw_is_the_documented_procedure(labels, seed, data):
    count = data.draw(st.integers(1, len(labels)))
    assert draw(labels, count=count, seed=seed).tolist() == draw_by_hand(labels.tolist(), count, seed)


@given(labels=LABELS, seed=SEEDS, data=st.data())
def test_every_class_gets_its_share_to_within_one(labels, seed, data):
    count = data.draw(st.integers(1, len(labels)))
    drawn = draw(labels, count=count, seed=seed)
    assert len(set(drawn.tolist())) == count
    for label in set(labels.tolist()):
        share = count * np.sum(labels == label) / len(labels)
        assert abs(np.sum(labels[drawn] == label) - share) < 1


@given(labels=LABELS.filter(lambda labels: len(labels) > 1), seed=SEEDS, data=st.data())
def test_two_draws_are_disjoint_and_the_first_does_not_depend_on_the_second(labels, seed, data):
    first = data.draw(st.integers(1, len(labels) - 1))
    second = data.draw(st.integers(1, len(labels) - first))
    train, validation = draw_two(labels, first=first, second=second, seed=seed)
    assert train.tolist() == draw(labels, count=first, seed=seed).tolist()
    assert len(set(train.tolist()) | set(validation.tolist())) == first + second


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=8), data=st.data())
def test_quotas_add_up_and_no_class_is_asked_for_more_than_it_has(sizes, data):
    count = data.draw(st.integers(1, sum(sizes)))
    quota = quotas(np.array(sizes), count=count)
    assert quota.sum() == count
    assert np.all(quota <= sizes)


def test_ties_of_the_remainder_go_to_the_lowest_class():
    assert quotas(np.array([5, 5, 5, 5]), count=6).tolist() == [2, 2, 1, 1]
    # Shares 0.6, 1.2, 1.2: the largest remainder, not the largest class.
    assert quotas(np.array([2, 4, 4]), count=3).tolist() == [1, 1, 1]


def test_drawing_everything_still_mixes_the_classes():
    labels = np.repeat(np.arange(3), 40)
    drawn = draw(labels, count=120, seed=1)
    assert sorted(drawn.tolist()) == list(range(120))
    # Of the first 30 about ten are of each class; five or fewer is unlikely, and the seed fixed.
    assert np.bincount(labels[drawn[:30]]).min() > 5


def test_another_seed_is_another_draw():
    labels = np.repeat(np.arange(3), 40)
    draws = {tuple(draw(labels, count=60, seed=seed)) for seed in range(5)}
    assert len(draws) == 5


def test_the_draw_of_a_seed_never_changes():
    labels = np.array([0, 1, 1, 2, 2, 2, 0])
    assert draw(labels, count=4, seed=5).tolist() == [2, 3, 4, 0]


@pytest.mark.parametrize("count", [-1, 0, 8])
def test_drawing_none_or_too_many_is_refused(count):
    with pytest.raises(UsageError, match=rf"cannot draw {count} of 7"):
        draw(np.zeros(7, dtype=np.int64), count=count, seed=0)


def test_asking_for_more_than_there_is_says_what_to_lower():
    with pytest.raises(
        UsageError, match=r"data\.train: asks for 11 images, but here has 10; lower data\.train to at most 10"
    ):
        checked_count(11, available=10, field="data.train", where="here")
    with pytest.raises(UsageError, match=r"data\.train: must be at least 1 \(got 0\)"):
        checked_count(0, available=10, field="data.train", where="here")
    assert checked_count(None, available=10, field="data.train", where="here") == 10
