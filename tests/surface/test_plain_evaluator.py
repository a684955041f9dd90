"""The plain evaluator against a float64 loop written here: own theta, own softmax, own means."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from tests.surface.problems import network_of, problem_around
from tmrepro.directions.gaussian import DirectionPair, draw_directions
from tmrepro.errors import UsageError
from tmrepro.networks.parameters import layout_of, theta_of
from tmrepro.numerics.inference import Targets, evaluate
from tmrepro.records import Direction
from tmrepro.surface import PlainEvaluator, Problem, choose
from tmrepro.training.minimum import relabel

KINDS = ("dnn", "cnn", "normed")
A = np.array([0.0, 0.7, -1.3])
B = np.array([0.4, 2.0])


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def definition(problem: Problem, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """S and accuracy as the design defines them, in float64 throughout, all images at once."""
    model = copy.deepcopy(problem.model).double()
    named = {name: value.detach().numpy() for name, value in problem.model.named_parameters()}
    labels, clip = problem.targets.values.numpy(), problem.targets.clip
    loss, accuracy = np.empty((len(a), len(b))), np.empty((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            moved, offset = {}, 0
            for name, value in named.items():
                part = slice(offset, offset + value.size)
                delta, eta = (
                    vector[part].astype(np.float64).reshape(value.shape)
                    for vector in (problem.directions.delta, problem.directions.eta)
                )
                moved[name] = torch.from_numpy(value.astype(np.float64) + a[i] * delta + b[j] * eta)
                offset += value.size
            with torch.no_grad():
                logits = functional_call(model, moved, (problem.inputs.double(),)).numpy()
            log_p = log_softmax(logits)
            if labels.ndim == 1:
                classes = labels
                p = np.exp(log_p[np.arange(len(labels)), labels])
                losses = -np.log(p) if clip is None else -np.log(np.minimum(np.maximum(p, clip), 1 - clip))
            else:
                classes = labels.argmax(1)
                wanted = labels.astype(np.float64)
                losses = (wanted * (np.log(wanted) - log_p)).sum(1)
            loss[i, j] = losses.mean()
            accuracy[i, j] = (logits.argmax(1) == classes).mean()
    return loss, accuracy


@pytest.mark.parametrize("kind", KINDS)
def test_float64_is_the_definition(kind: str) -> None:
    asked = problem_around(network_of(kind))
    loss, accuracy = PlainEvaluator(asked).block(A, B)
    expected, right = definition(asked, A, B)
    np.testing.assert_allclose(loss, expected, rtol=1e-12, atol=0)  # sums in another order
    assert np.array_equal(accuracy, right)
    assert np.ptp(expected) > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_float32_stays_within_the_designs_bound(kind: str) -> None:
    asked = problem_around(network_of(kind), precision="float32")
    loss, accuracy = PlainEvaluator(asked).block(A, B)
    expected, right = definition(asked, A, B)
    assert (np.abs(loss - expected) <= 1e-5 * (np.abs(expected) + 0.01)).all()
    assert np.abs(accuracy - right).max() <= 1 / 150
    assert loss.dtype == accuracy.dtype == np.float64


@pytest.mark.parametrize("kind", KINDS)
def test_soft_labels_give_the_divergence_which_is_zero_at_theta_star(kind: str) -> None:
    model = network_of(kind)
    own = Targets(relabel(model, problem_around(model).inputs, labels="soft"))
    asked = problem_around(model, targets=own)
    loss, accuracy = PlainEvaluator(asked).block(np.array([0.0, 0.9]), np.array([0.0, -1.1]))
    expected, right = definition(asked, np.array([0.0, 0.9]), np.array([0.0, -1.1]))
    np.testing.assert_allclose(loss, expected, rtol=1e-9, atol=1e-14)
    assert np.array_equal(accuracy, right)
    assert abs(loss[0, 0]) < 1e-7  # labels are stored in float32
    assert accuracy[0, 0] == 1
    assert (loss[0, 1], loss[1, 0]) > (1e-4, 1e-4)


@pytest.mark.parametrize("clip", [1e-7, 0.3])
def test_clipping_reaches_the_surface_from_both_sides(clip: float) -> None:
    model = network_of("dnn")
    asked = problem_around(model, targets=Targets(torch.arange(150) % 3, clip=clip))
    far = np.array([0.0, 60.0])
    loss, _ = PlainEvaluator(asked).block(far, B)
    np.testing.assert_allclose(loss, definition(asked, far, B)[0], rtol=1e-9)
    assert (loss <= -math.log(clip)).all()
    assert (loss >= -math.log1p(-clip)).all()
    unclipped, _ = PlainEvaluator(replace(asked, targets=Targets(asked.targets.values))).block(far, B)
    assert abs(unclipped - loss).max() > 1e-3


def test_hard_relabelled_and_original_labels_are_other_surfaces() -> None:
    model = network_of("cnn")
    original = problem_around(model)
    own = relabel(model, original.inputs, labels="hard")
    relabelled = problem_around(model, targets=Targets(own))
    at_home = np.zeros(1)
    assert PlainEvaluator(relabelled).block(at_home, at_home)[1].item() == 1
    assert (
        PlainEvaluator(original).block(at_home, at_home)[1].item() == (own == original.targets.values).double().mean()
    )


def test_rows_are_a_and_columns_are_b() -> None:
    """One point alone gives what it gives as part of a rectangle."""
    asked = problem_around(network_of("dnn"))
    a, b = np.array([0.0, 0.5, 1.5]), np.array([0.0, 3.0])
    loss, accuracy = PlainEvaluator(asked).block(a, b)
    assert loss.shape == accuracy.shape == (3, 2)
    only_delta = PlainEvaluator(asked).block(a[2:], b[:1])[0].item()
    only_eta = PlainEvaluator(asked).block(a[:1], b[1:])[0].item()
    assert only_delta == loss[2, 0]
    assert only_eta == loss[0, 1]
    assert only_delta != only_eta


def test_at_theta_star_the_surface_is_the_models_own_loss() -> None:
    model = network_of("normed")
    asked = problem_around(model, precision="float32")
    loss, accuracy = PlainEvaluator(asked).block(np.zeros(1), np.zeros(1))
    own = evaluate(model, asked.inputs, targets=asked.targets)
    assert loss.item() == pytest.approx(own.loss, rel=1e-14)
    assert accuracy.item() == own.accuracy


def test_batch_norm_uses_the_stored_statistics_and_leaves_them() -> None:
    model = network_of("normed")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()  # whatever mode it is given in
    asked = problem_around(model)
    loss, _ = PlainEvaluator(asked).block(A, B)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    np.testing.assert_allclose(loss, definition(replace(asked, model=model.eval()), A, B)[0], rtol=1e-12)


class Witness(nn.Module):
    """Keeps the bits of the parameters that each forward pass sees."""

    seen: ClassVar[list[tuple[np.dtype, bytes]]] = []

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(8)
        self.first = nn.Parameter(torch.randn(3, 5, generator=generator))
        self.second = nn.Parameter(torch.randn(4, generator=generator) * 1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        vector = np.concatenate([value.detach().numpy().ravel() for value in self.parameters()])
        Witness.seen.append((vector.dtype, vector.tobytes()))
        return x.new_zeros(len(x), 3)


@pytest.mark.parametrize(("precision", "dtype"), [("float32", "<f4"), ("float64", "<f8")])
def test_theta_is_formed_in_float64_and_rounded_once(precision: str, dtype: str) -> None:
    """The same bits as numpy: a product and a sum for delta, then for eta, never fused; afresh for every point."""
    model = Witness()
    asked = problem_around(model, precision=precision, n=2)
    theta = theta_of(model).astype(np.float64)
    delta, eta = asked.directions.delta.astype(np.float64), asked.directions.eta.astype(np.float64)
    a, b = np.array([0.1, 1 / 3, 700.7]), np.array([0.3, -1e-5])
    Witness.seen.clear()
    PlainEvaluator(asked).block(a, b)
    expected = [((theta + a_i * delta) + b_j * eta).astype(dtype) for a_i in a for b_j in b]
    assert [found for found, _ in Witness.seen] == [np.dtype(dtype)] * 6
    assert [bits for _, bits in Witness.seen] == [vector.tobytes() for vector in expected]


def test_the_model_that_is_given_stays_at_theta_star() -> None:
    model = network_of("dnn")
    before = theta_of(model).tobytes()
    for precision in ("float64", "float32", "bfloat16"):
        PlainEvaluator(problem_around(model, precision=precision)).block(A, B)
    assert theta_of(model).tobytes() == before
    assert {value.dtype for value in model.parameters()} == {torch.float32}


class Lone(nn.Module):
    """logits = b for every image: with it a point's loss is known in closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b + 0 * x.flatten(1)[:, :3]


def lone(*, delta: list[float], labels: torch.Tensor) -> Problem:
    facts = Direction(seed=0, sha256="", norm=1.0)
    pair = DirectionPair(np.array(delta, np.float32), np.zeros(3, np.float32), facts, facts, 0.0)
    return replace(problem_around(Lone(), targets=Targets(labels), precision="float32", n=len(labels)), directions=pair)


def test_points_whose_loss_is_not_finite_are_results() -> None:
    """Beyond float32, logits become -inf (an infinite loss for that class) or inf (no number)."""
    labels = torch.tensor([0, 0, 1, 2])
    a = np.array([0.0, 1e39, -1e39, 1.0])
    loss, accuracy = PlainEvaluator(lone(delta=[-1, 0, 0], labels=labels)).block(a, np.zeros(1))
    assert loss[0, 0] == pytest.approx(math.log(3))
    assert loss[1, 0] == math.inf
    assert math.isnan(loss[2, 0])
    assert loss[3, 0] == pytest.approx(math.log(2 + math.exp(-1)) + 0.5)  # finite again: nothing of before is left
    assert accuracy[1, 0] == 0.25


def test_bfloat16_is_near_and_is_what_each_point_gives_alone() -> None:
    for kind in KINDS:
        asked = problem_around(network_of(kind), precision="bfloat16")
        loss, accuracy = PlainEvaluator(asked).block(A, B)
        expected, _ = definition(asked, A, B)
        np.testing.assert_allclose(loss, expected, rtol=0.05, atol=0.05)  # eight bits of mantissa
        assert abs(loss - expected).max() > 1e-5
        alone = PlainEvaluator(asked).block(A[2:], B[1:])
        assert (alone[0].item(), alone[1].item()) == (loss[2, 1], accuracy[2, 1])


def test_tf32_is_float32_on_a_cpu_and_leaves_the_settings() -> None:
    model = network_of("cnn")
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    tf32 = PlainEvaluator(problem_around(model, precision="tf32")).block(A, B)[0]
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before
    assert tf32.tobytes() == PlainEvaluator(problem_around(model, precision="float32")).block(A, B)[0].tobytes()


def test_directions_of_the_directions_room_fit() -> None:
    """Drawn, filter-normalised directions on a network with batch norm, whose norm layers then stand still."""
    model = network_of("normed")
    theta, layout = theta_of(model), layout_of(model)
    pair = draw_directions((1, 2), theta=theta, layout=layout, normalization="filter", moves="all")
    asked = replace(problem_around(model), directions=pair)
    np.testing.assert_allclose(PlainEvaluator(asked).block(A, B)[0], definition(asked, A, B)[0], rtol=1e-12)


def test_tied_weights_move_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(108, 108, bias=False)
            self.two = nn.Linear(108, 108, bias=False)
            self.two.weight = self.one.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.two(self.one(x.flatten(1)))[:, :3]

    torch.manual_seed(0)
    asked = problem_around(Tied())
    np.testing.assert_allclose(PlainEvaluator(asked).block(A, B)[0], definition(asked, A, B)[0], rtol=1e-12)


def test_the_evaluator_is_chosen_by_rule_or_by_name() -> None:
    asked = problem_around(network_of("dnn"))
    assert choose(asked, forced="plain").kind.name == "plain"
    assert choose(asked).kind.name == "prefix"
    for wrong in ("fast", ""):
        with pytest.raises(UsageError, match=f"no evaluator '{wrong}': choose one of .*plain"):
            choose(asked, forced=wrong)
