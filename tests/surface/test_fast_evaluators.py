"""The faster evaluators against the plain one in float64, on networks drawn at random: within the design's bound everywhere."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from tmrepro.directions.gaussian import DirectionPair
from tmrepro.networks import build_model
from tmrepro.networks.parameters import theta_of
from tmrepro.numerics.determinism import Determinism
from tmrepro.numerics.inference import Targets
from tmrepro.records import Direction, Signature
from tmrepro.spec import CnnModel, DnnModel
from tmrepro.surface import PlainEvaluator, Problem, find_evaluator
from tmrepro.surface.cpu import geometry as geometry_module
from tmrepro.surface.cpu import prefix as prefix_module

FAST = ("tracked", "prefix")
CLASSES = 4
HEIGHT, WIDTH = 7, 5
IMAGES = 23
MACHINE = Determinism("portable", 1)
# More than 16 points along b, so that tracking begins afresh within the block; the corner is not (0, 0).
A, B = np.linspace(-0.6, 1.3, 5), np.linspace(-1.7, 2.2, 19)

activations = st.sampled_from([nn.ReLU, nn.Tanh, nn.GELU, nn.LeakyReLU, nn.Identity])


class Residual(nn.Module):
    """A tail with a way of its own: a branch, a parameter outside a layer, tied layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = nn.Linear(width, width)
        self.other = nn.Linear(width, width)
        self.other.weight = self.one.weight
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.scale * self.other(torch.relu(self.one(x)))


@st.composite
def dense(draw: st.DrawFn) -> list[nn.Module]:
    widths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    layers: list[nn.Module] = [
        nn.Flatten(),
        nn.Linear(3 * HEIGHT * WIDTH, widths[0], bias=draw(st.booleans())),
        nn.ReLU(),
    ]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after, bias=draw(st.booleans())), draw(activations)()]
    layers += [Residual(widths[-1])] if draw(st.booleans()) and len(widths) > 1 else []
    return [*layers, nn.Linear(widths[-1], CLASSES)]


def convolution(draw: st.DrawFn, before: int, after: int) -> nn.Conv2d:
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    return nn.Conv2d(
        before,
        after,
        draw(pair),
        stride=draw(pair),
        padding=draw(st.tuples(st.integers(0, 2), st.integers(0, 2))),
        dilation=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        bias=draw(st.booleans()),
    )


@st.composite
def convolutional(draw: st.DrawFn) -> list[nn.Module]:
    one, two = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    layers: list[nn.Module] = [convolution(draw, 3, one), nn.ReLU()]
    if draw(st.booleans()):
        layers += [convolution(draw, one, two), draw(activations)()]
    if draw(st.booleans()):
        layers += [nn.LazyBatchNorm2d(), nn.AdaptiveAvgPool2d((2, 1))]
    layers += [nn.Flatten(), nn.LazyLinear(5), draw(activations)(), nn.Dropout(0.5)]
    return [*layers, nn.Linear(5, CLASSES)]


@st.composite
def networks(draw: st.DrawFn) -> nn.Module:
    layers = draw(st.one_of(dense(), convolutional()))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(st.integers(0, 10_000)))
        model = nn.Sequential(*layers)
        try:
            model(torch.randn(4, 3, HEIGHT, WIDTH))  # sizes the lazy layers, and moves the statistics of batch norm
        except RuntimeError:
            assume(condition=False)  # a kernel larger than its maps
        draw_parameters(model)
    return model.eval()


def draw_parameters(model: nn.Module) -> None:
    for value in model.parameters():
        nn.init.normal_(value, std=1.2 / math.sqrt(max(value[0].numel(), 1)))


def pose(model: nn.Module, *, precision: Any = "float32", labels: str = "hard", clip: float | None = None) -> Problem:
    """A problem on normal images; two of them are black."""
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(IMAGES, 3, HEIGHT, WIDTH, generator=generator)
    inputs[3:5] = 0
    draws = np.random.default_rng(3).normal(size=(2, theta_of(model).size))
    draws *= np.array([[1.5], [0.8]]) * np.linalg.norm(theta_of(model)) / np.linalg.norm(draws, axis=1, keepdims=True)
    facts = Direction(seed=0, sha256="", norm=1.0)
    values = torch.arange(IMAGES) % CLASSES
    if labels == "soft":
        values = torch.randn(IMAGES, CLASSES, generator=generator).softmax(1)
    pair = DirectionPair(*draws.astype(np.float32), facts, facts, 0.0)
    return Problem(model, pair, inputs, Targets(values, clip), precision)


def rounding(problem: Problem, expected: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far the losses at a x b, `expected`, move when theta*, delta^ and eta^ do by at most what float32 rounds them by."""
    generator = np.random.default_rng(5)

    def rounded(x: np.ndarray) -> np.ndarray:
        return x * (1 + 2.0**-24 * generator.uniform(-1, 1, x.shape))

    def moved() -> np.ndarray:
        model, pair = copy.deepcopy(problem.model).double(), problem.directions
        with torch.no_grad():
            for value in model.parameters():
                value.copy_(torch.from_numpy(rounded(value.numpy())))
        pair = replace(pair, delta=rounded(pair.delta.astype(float)), eta=rounded(pair.eta.astype(float)))
        return PlainEvaluator(replace(problem, model=model, directions=pair, precision="float64")).block(a, b)[0]

    return np.max([np.abs(moved() - expected) for _ in range(3)], axis=0)


def check(
    problem: Problem, name: str, a: np.ndarray = A, b: np.ndarray = B, *, rounded: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """What evaluator `name` gives, found within the bound of float64 (design, section 3).

    With `rounded`, four times what float32's rounding of the parameters changes is granted beyond it: of networks drawn
    at random some have logits so large that no float32 tells which of two images' losses is clipped.
    """
    loss, accuracy = find_evaluator(name)(problem).block(a, b)
    expected, right = PlainEvaluator(replace(problem, precision="float64")).block(a, b)
    assert loss.shape == accuracy.shape == (len(a), len(b))
    granted = 4 * rounding(problem, expected, a, b) if rounded else 0
    assert (np.abs(loss - expected) <= 1e-5 * (np.abs(expected) + 0.01) + granted).all()
    assert np.abs(accuracy - right).max() <= 1 / len(problem.inputs)  # two logits may be nearly alike
    return loss, accuracy


@settings(max_examples=40)
@given(networks(), st.sampled_from(FAST), st.sampled_from(["hard", "soft", "clipped"]))
def test_random_networks_are_within_the_bound(model: nn.Module, name: str, labels: str) -> None:
    problem = pose(model, labels=labels, clip=0.05 if labels == "clipped" else None)
    assume(find_evaluator(name).why_unsupported(problem) is None)
    check(problem, name, rounded=True)


@pytest.mark.parametrize("name", ["plain", *FAST])
def test_values_small_near_the_minimum_are_no_differences_of_large_ones(name: str) -> None:
    """In a unit alone nothing hides it: counted from a block's corner, this was off by half more than the bound."""
    width = 5
    layers = [nn.Linear(105, 1, bias=False), nn.ReLU(), nn.Linear(1, 8, bias=False), nn.ReLU(), nn.Linear(8, width)]
    model = nn.Sequential(nn.Flatten(), *layers, nn.ReLU(), Residual(width), nn.Linear(width, CLASSES)).eval()
    torch.manual_seed(91)
    draw_parameters(model)
    check(pose(model, labels="clipped", clip=0.05), name, rounded=True)


@pytest.mark.parametrize("kind", ["dnn", "cnn"])
@pytest.mark.parametrize("name", FAST)
def test_the_papers_networks_are_within_the_bound(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In corner and centre, in tiles and groups that are smaller than the images, with columns in any order."""
    monkeypatch.setattr(geometry_module, "LARGEST_TILE", 10)
    monkeypatch.setattr(prefix_module, "GROUP_BYTES", 1)
    monkeypatch.setattr(prefix_module, "EVALUATION_BATCH", 10)
    spec: Any = DnnModel(name="d", kind="dnn") if kind == "dnn" else CnnModel(name="c", kind="cnn")
    model = build_model(spec, signature=Signature.of_pictures(classes=10, size=8), seed=1).eval()
    problem = pose(model)
    problem = replace(problem, inputs=torch.randn(IMAGES, 3, 8, 8, generator=torch.Generator().manual_seed(1)))
    loss, accuracy = check(problem, name)
    assert np.ptp(loss) > 0.1
    assert np.ptp(accuracy) > 0
    check(problem, name, np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.2, 0.9, 1.0]))
    order = np.array([2, 0, 1])
    turned = find_evaluator(name)(problem).block(A, B[order])[0]
    assert turned.tobytes() == find_evaluator(name)(problem).block(A, B[:3])[0][:, order].tobytes() or name == "prefix"
    check(problem, name, A[::-1].copy(), B[order])


@pytest.mark.parametrize("name", FAST)
def test_functions_and_flattening_in_a_forward_are_seen(name: str) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.tensor(0.3))
            self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1)
            self.second = nn.Linear(6 * 4 * 3, 8)
            self.last = self.again = nn.Linear(8, CLASSES)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.flatten(torch.relu(self.first((x - self.mean) * 2)), 1)
            return self.again(nn.functional.relu(self.second(x)).abs())

    torch.manual_seed(0)
    check(pose(Own().eval()), name)


def test_a_unit_that_no_direction_moves_and_one_at_zero() -> None:
    """z = 0 exactly on black images without a bias, and along b everywhere in the first layer."""
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(105, 6, bias=False), nn.ReLU(), nn.Linear(6, 5), nn.Linear(5, CLASSES)
    )
    problem = pose(model)
    eta, delta = problem.directions.eta.copy(), problem.directions.delta.copy()
    eta[: 105 * 6] = 0
    delta[: 105 * 3] = 0
    check(replace(problem, directions=replace(problem.directions, delta=delta, eta=eta)), "tracked")


@pytest.mark.parametrize("far", [3e39, 1e14])
@pytest.mark.parametrize("name", FAST)
def test_what_is_not_finite_is_what_the_plain_evaluator_says(name: str, far: float) -> None:
    torch.manual_seed(1)
    widths = [nn.Linear(105, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, CLASSES)]
    problem = pose(nn.Sequential(nn.Flatten(), *widths))
    a, b = np.array([0.0, far / 1e9, far]), np.array([-far, 0.0, 1.0])
    loss, accuracy = find_evaluator(name)(problem).block(a, b)
    expected, right = PlainEvaluator(problem).block(a, b)
    assert np.array_equal(np.isfinite(loss), np.isfinite(expected))
    assert not np.isfinite(loss).all()
    assert np.isfinite(loss[0, 2])
    np.testing.assert_allclose(loss[0, 1:], expected[0, 1:], rtol=1e-5)
    np.testing.assert_array_equal(np.isnan(loss), np.isnan(expected))
    assert np.abs(accuracy - right)[0, 1:].max() <= 1 / IMAGES


def test_a_unit_between_infinities_of_both_signs_is_what_the_plain_evaluator_says() -> None:
    """Its value is finite where a delta^ and b eta^ are not."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(105, 6, bias=False), nn.ReLU(), nn.Linear(6, CLASSES))
    nn.init.normal_(model[3].weight, std=1e-38)
    problem = pose(model)
    delta = problem.directions.delta.copy()
    delta[105 * 6 :] = 0
    pair = replace(problem.directions, delta=delta, eta=-0.99 * delta)
    problem = replace(problem, directions=pair, inputs=10 * problem.inputs)
    check(problem, "tracked", np.full(3, 1e38), np.array([1.0, 1.0001, 1.0002]) * 1e38)


def test_prefix_takes_float64_and_losses_of_ones_own() -> None:
    def squared(outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return (outputs - wanted).square().sum(1)

    torch.manual_seed(3)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3, 2), nn.Flatten(), nn.Linear(36, CLASSES)]
    asked = pose(nn.Sequential(*layers).eval())
    problem = replace(asked, targets=Targets(torch.randn(IMAGES, CLASSES), loss=squared))
    assert "caller's own" in find_evaluator("tracked").why_unsupported(problem)
    check(problem, "prefix")
    wide = replace(asked, precision="float64")
    loss, _ = find_evaluator("prefix")(wide).block(A, B)
    np.testing.assert_allclose(loss, PlainEvaluator(wide).block(A, B)[0], rtol=1e-12)
