"""The measured error: wrong evaluators are found and passed over, and what is measured is the code in use."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.surface.problems import network_of, problem_around
from tmrepro.numerics.inference import Targets
from tmrepro.records import loss_bound
from tmrepro.surface import PlainEvaluator, Problem, evaluators
from tmrepro.surface.measured import IMAGES, ErrorMeter, Lattice, over_bound
from tmrepro.surface.selection import Selector

A, B = np.arange(5.0), np.array([-1.0, 0.0, 0.5, 2.0, 3.0, 7.0])
HOME = (0, 1)


@pytest.fixture
def lattice() -> Lattice:
    return Lattice(A, B, HOME, 4)


def asked(n: int = 40, **options: Any) -> Problem:
    """Return a problem of the network with batch norm in float32."""
    return problem_around(network_of("normed"), n=n, precision="float32", **options)


def off(bounds: float, *, where: Callable[[float, float], bool], alone: bool = True) -> type[PlainEvaluator]:
    """An evaluator that is `bounds` bounds off at some points (a, b). Not `alone`: only in blocks of several points."""

    class Off(PlainEvaluator):
        name = "off"
        pointwise = alone

        def block(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            loss, accuracy = super().block(a, b)
            for i, j in np.ndindex(loss.shape):
                if where(a[i], b[j]) and (alone or loss.size > 1):
                    loss[i, j] += bounds * loss_bound(loss[i, j])
            return loss, accuracy

    return Off


@pytest.fixture
def by_rule(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    return lambda *kinds: monkeypatch.setattr(evaluators, "_BY_RULE", kinds)


@pytest.mark.parametrize(
    ("found", "exact", "expected"),
    [
        (1.0, 1.0, 0), (2.0, 1.0, 1 / 1.01e-5), (0.0, 0.0, 0), (1e-7, 0.0, 1), (math.nan, math.nan, 0),
        (math.inf, math.inf, 0), (math.nan, math.inf, 0), (1.0, math.inf, math.inf), (math.nan, 1.0, math.inf),
    ],
)  # fmt: skip
def test_errors_are_counted_in_bounds_and_non_finite_points_by_their_kind(found, exact, expected):
    assert over_bound(found, exact) == pytest.approx(expected)


def test_it_is_measured_at_theta_the_highest_loss_and_seeded_points(lattice):
    one = asked()
    loss = PlainEvaluator(one).block(A, B)[0]
    exact = PlainEvaluator(replace(one, precision="float64")).block(A, B)[0]
    loss[3, 4] = math.nan
    loss[2, 5] = 1e9
    measured = ErrorMeter(one, lattice).after(PlainEvaluator, loss)
    points = list(measured.errors)
    assert (points[:2], len(set(points)), measured.images) == ([HOME, (2, 5)], 4, 40)
    assert measured.worst == ((2, 5), pytest.approx((1e9 - exact[2, 5]) / loss_bound(exact[2, 5])))
    assert all(measured.errors[point] < 1 for point in points if point != (2, 5))
    assert list(ErrorMeter(one, lattice).after(PlainEvaluator, loss).errors) == points
    other = replace(one, directions=replace(one.directions, delta_facts=replace(one.directions.delta_facts, seed=9)))
    assert list(ErrorMeter(other, lattice).after(PlainEvaluator, loss).errors)[2:] != points[2:]
    own = replace(one, directions=replace(one.directions, delta_facts=replace(one.directions.delta_facts, seed=None)))
    assert len(ErrorMeter(own, replace(lattice, home=None)).after(PlainEvaluator, loss).errors) == 4


def test_a_small_grid_is_measured_at_all_of_its_points():
    lattice = Lattice(A[:1], B[:3], (0, 1), 3)
    measured = ErrorMeter(asked(), lattice).after(PlainEvaluator, np.zeros((1, 3)))
    assert sorted(measured.errors) == [(0, 0), (0, 1), (0, 2)]


def test_a_large_surface_is_measured_by_the_evaluator_on_its_first_images(lattice):
    many = asked(600)
    kind = off(5.0, where=lambda a, b: (a, b) == (0.0, 0.0))
    measured = ErrorMeter(many, lattice).after(kind, np.full((5, 6), 1e9))
    assert measured.images == IMAGES
    assert measured.worst == (HOME, pytest.approx(5, abs=0.5))


def test_an_evaluator_of_blocks_gets_the_squares_that_it_computes(lattice):
    """What is wrong in a block alone is found; fewer images go through, so that it costs a twentieth at most."""
    many = asked(600)
    kind = off(5.0, where=lambda a, b: (a, b) == (0.0, 0.0), alone=False)
    measured = ErrorMeter(many, lattice).after(kind, np.full((5, 6), 1e9))
    assert measured.images == 32  # the least: a grid of 30 points
    assert measured.worst == (HOME, pytest.approx(5, abs=0.5))
    wide = Lattice(np.arange(51.0), np.arange(51.0), (0, 0), 16)
    assert ErrorMeter(many, wide)._images(kind) * (4 * 16 * 16 + 4) <= 0.05 * 51 * 51 * 600


def test_a_pointwise_evaluator_that_is_wrong_is_passed_over_before_the_surface(lattice, by_rule):
    by_rule(off(3.0, where=lambda a, b: (a, b) == (0.0, 0.0)))
    selector = Selector(asked(), lattice)
    choice = selector.choose()
    assert choice.kind is PlainEvaluator
    assert choice.reason.startswith("off was 3")
    assert choice.reason.endswith("times the bound off at (0, 1); plain fits everything")
    assert selector.rejected == []


@pytest.mark.parametrize("alone", [True, False])
def test_one_that_is_wrong_where_the_loss_is_highest_is_passed_over_once_it_is_known(lattice, by_rule, alone):
    loss = PlainEvaluator(asked()).block(A, B)[0]
    i, j = divmod(int(loss.argmax()), len(B))
    kind = off(3.0, where=lambda a, b: (a, b) == (A[i], B[j]), alone=alone)
    by_rule(kind)
    selector = Selector(asked(), lattice)
    assert selector.choose().kind is kind
    assert selector.judge(kind, kind(asked()).block(A, B)[0]) is None
    assert [one.evaluator for one in selector.rejected] == ["off"]
    # Whoever continues knows it from the record, and comes to the same choice in the same words.
    continued = Selector(asked(), lattice, rejected=selector.rejected)
    assert continued.choose() == selector.choose()
    assert f"at ({i}, {j}); plain fits" in continued.choose().reason
    error = continued.judge(PlainEvaluator, loss)
    assert error is not None
    assert error.over_bound is not None
    assert error.over_bound <= 1
    assert error.note is None


def test_one_that_was_forced_stays_and_says_so(lattice, by_rule):
    kind = off(3.0, where=lambda _a, _b: True)
    by_rule(kind)
    selector = Selector(asked(), lattice, forced="off")
    assert selector.choose().kind is kind
    error = selector.judge(kind, kind(asked()).block(A, B)[0])
    assert error is not None
    assert error.over_bound == pytest.approx(3, abs=0.5)
    assert str(error.note).startswith("off, forced by name, is 3")


def test_an_evaluator_that_is_no_worse_than_plain_stays(lattice, by_rule, monkeypatch):
    """Where float32 itself is beyond the bound, the next evaluator would cost more for nothing."""
    kind = off(3.0, where=lambda _a, _b: True)
    by_rule(kind)
    plainly = ErrorMeter.plainly

    def no_better(meter, points, images):
        found = plainly(meter, points, images)
        return replace(found, errors=dict.fromkeys(found.errors, 4.0))

    monkeypatch.setattr(ErrorMeter, "plainly", no_better)
    selector = Selector(asked(), lattice)
    assert selector.choose().kind is kind
    error = selector.judge(kind, kind(asked()).block(A, B)[0])
    assert error is not None
    assert "plain is no better there: that is what float32 gives" in str(error.note)


def test_plain_beyond_the_bound_is_said_to_be_what_float32_gives(lattice, by_rule):
    by_rule()
    selector = Selector(asked(), lattice)
    error = selector.judge(PlainEvaluator, PlainEvaluator(asked()).block(A, B)[0] + 1)
    assert error is not None
    assert str(error.note).startswith("float32 itself is ")


def test_a_lower_precision_is_measured_and_kept(lattice):
    low = replace(asked(), precision="bfloat16")
    selector = Selector(low, lattice)
    choice = selector.choose()
    error = selector.judge(choice.kind, choice.kind(low).block(A, B)[0])
    assert error is not None
    assert error.over_bound is not None
    assert error.over_bound > 1
    assert str(error.note).startswith("bfloat16 is ")


class MakesTensors(nn.Module):
    """Adds a tensor that forward makes, which refuses products with float64 unless it is torch's default."""

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.layer, self.dtype = nn.Linear(108, 3), dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1)) @ torch.eye(3, dtype=self.dtype)


def test_tensors_that_forward_makes_are_of_float64_too(lattice):
    model = MakesTensors(None).eval()
    one = problem_around(model, n=20, precision="float32")
    loss = PlainEvaluator(one).block(A, B)[0]
    measured = ErrorMeter(one, lattice).after(PlainEvaluator, loss)
    assert measured.failure is None
    assert 0 < measured.worst[1] < 1
    assert torch.get_default_dtype() is torch.float32


@pytest.mark.parametrize("which", ["network", "loss"])
def test_where_float64_cannot_be_computed_words_say_so(lattice, which):
    weight = torch.tensor([1.0, 2.0, 3.0])

    def weighted(outputs, wanted):
        return nn.functional.cross_entropy(outputs, wanted, weight, reduction="none")

    labels = Targets(torch.arange(20) % 3, loss=weighted)
    one = (
        problem_around(MakesTensors(torch.float32).eval(), n=20, precision="float32")
        if which == "network"
        else problem_around(network_of("dnn"), n=20, precision="float32", targets=labels)
    )
    error = Selector(one, lattice).judge(PlainEvaluator, PlainEvaluator(one).block(A, B)[0])
    assert error is not None
    assert (error.over_bound, error.points, error.images) == (None, (), 0)
    assert str(error.note).startswith("not measured: the definition cannot be computed in float64 (RuntimeError)")
