"""Folded networks against the plain loop in float64, over architectures that nobody chose, and on ResNet50."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.surface.problems import network_of, problem_around
from tmrepro.directions.gaussian import DirectionPair, draw_directions
from tmrepro.networks.parameters import layout_of, theta_of
from tmrepro.numerics.inference import Targets
from tmrepro.records import Direction
from tmrepro.surface import PlainEvaluator, Problem, choose
from tmrepro.surface.cpu.folded import FoldedEvaluator
from tmrepro.surface.cpu.folding import FoldedNetwork, fold_network
from tmrepro.surface.cpu.layers import Shape, make_layer
from tmrepro.surface.trace import trace_network

CLASSES = 4
A, B = np.array([0.0, 0.4, -0.9]), np.array([0.3, -1.0])


def bound(expected: np.ndarray) -> np.ndarray:
    return 1e-5 * (np.abs(expected) + 0.01)


def check_against_float64(asked: Problem, a: np.ndarray = A, b: np.ndarray = B) -> None:
    assert FoldedEvaluator.why_unsupported(asked) is None
    loss, accuracy = FoldedEvaluator(asked).block(a, b)
    expected, right = PlainEvaluator(replace(asked, precision="float64")).block(a, b)
    assert (np.abs(loss - expected) <= bound(expected)).all()
    assert np.abs(accuracy - right).max() <= 2 / len(asked.inputs)


@dataclass(frozen=True)
class Stage:
    """One convolution of a random network, and what stands around it."""

    width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: int
    depthwise: bool
    bias: bool
    norm: str
    activation: str
    residual: str


@st.composite
def stages(draw: st.DrawFn) -> Stage:
    kernel = draw(st.tuples(st.sampled_from([1, 3, 5]), st.sampled_from([1, 2, 3])))
    return Stage(
        width=draw(st.sampled_from([4, 8, 12])),
        kernel=kernel,
        stride=draw(st.tuples(st.integers(1, 2), st.integers(1, 3))),
        padding=(kernel[0] // 2 + draw(st.integers(0, 1)), kernel[1] // 2 + draw(st.integers(0, 1))),
        dilation=draw(st.sampled_from([1, 1, 2])),
        depthwise=draw(st.booleans()),
        bias=draw(st.booleans()),
        norm=draw(st.sampled_from(["affine", "affine", "bare", "none"])),
        activation=draw(st.sampled_from(["module", "inplace", "function", "method", "none", "tanh"])),
        residual=draw(st.sampled_from(["none", "operator", "function", "method", "inplace", "itself"])),
    )


class RandomNetwork(nn.Module):
    """Convolutions with and without batch norm and what adds to them, pooling, and a head with batch norm of its own."""

    def __init__(self, plan: list[Stage], *, head: str, seed: int) -> None:
        super().__init__()
        self.plan, self.head_kind = plan, head
        channels = 3
        self.convolutions, self.norms, self.activations = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for stage in plan:
            groups = channels if stage.depthwise and stage.width % channels == 0 else 1
            self.convolutions.append(
                nn.Conv2d(
                    channels, stage.width, stage.kernel, stage.stride, stage.padding, stage.dilation, groups, stage.bias
                )
            )
            norm = nn.Identity() if stage.norm == "none" else nn.BatchNorm2d(stage.width, affine=stage.norm == "affine")
            self.norms.append(norm)
            self.activations.append(nn.ReLU(inplace=stage.activation == "inplace"))
            channels = stage.width
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.middle, self.middle_norm = nn.Linear(4 * channels, 6), nn.BatchNorm1d(6)
        self.head = nn.Linear(6, CLASSES)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for value in self.parameters():
                nn.init.normal_(value, std=1 / np.sqrt(max(1, value[0].numel())) if value.ndim > 1 else 0.5)
            for module in self.modules():
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    module.running_mean.normal_()
                    module.running_var.uniform_(0.5, 2)
                    module.eps = 1e-3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for stage, convolution, norm, activation in zip(
            self.plan, self.convolutions, self.norms, self.activations, strict=True
        ):
            before, x = x, norm(convolution(x))
            # Which sums there are follows from the plan, not from the sizes: a graph has no such questions in it.
            keeps = stage.stride == (1, 1) and self._keeps(convolution, stage)
            other = x.tanh() if stage.residual == "itself" else before
            if stage.residual != "none" and (stage.residual == "itself" or keeps):
                match stage.residual:
                    case "operator" | "itself":
                        x = other + x
                    case "function":
                        x = torch.add(x, other)
                    case "method":
                        x = x.add(other)
                    case _:
                        x += other
            match stage.activation:
                case "module" | "inplace":
                    x = activation(x)
                case "function":
                    x = nn.functional.relu(x)
                case "method":
                    x = x.relu()
                case "tanh":
                    x = x.tanh()
        x = self.pool(x).flatten(1)
        x = self.middle(x)
        return self.head(torch.relu(self.middle_norm(x)) if self.head_kind == "norm" else x)

    @staticmethod
    def _keeps(convolution: nn.Conv2d, stage: Stage) -> bool:
        same = all(
            2 * padding == stage.dilation * (kernel - 1)
            for padding, kernel in zip(stage.padding, stage.kernel, strict=True)
        )
        return same and convolution.in_channels == convolution.out_channels


def problem_of(model: nn.Module, *, size: tuple[int, int], n: int, seed: int = 0) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    theta, layout = theta_of(model), layout_of(model)
    pair = draw_directions((seed + 1, seed + 2), theta=theta, layout=layout, normalization="l2", moves="all")
    inputs = torch.randn(n, 3, *size, generator=generator)
    return Problem(model, pair, inputs, Targets(torch.arange(n) % CLASSES), "float32")


@settings(max_examples=60)
@given(
    st.lists(stages(), min_size=1, max_size=4),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from(["norm", "plain"]),
    st.integers(1, 3),
    st.integers(0, 10**6),
)
def test_any_network_with_batch_norm_stays_within_the_designs_bound(
    plan: list[Stage], size: tuple[int, int], head: str, n: int, seed: int
) -> None:
    plan = [replace(plan[0], norm="affine"), *plan[1:]]
    reach = max(stage.dilation for stage in plan)
    height, width = (max(length, 2 * reach + 1) for length in size)  # a dilated kernel must fit in with its padding
    plan = [replace(stage, padding=tuple(max(p, 2 * stage.dilation) for p in stage.padding)) for stage in plan]
    model = RandomNetwork(plan, head=head, seed=seed).eval()
    check_against_float64(problem_of(model, size=(height, width), n=n, seed=seed))


@given(
    st.sampled_from([(1, 1), (3, 3), (3, 1), (5, 3)]),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.sampled_from([1, 2]),
)
@settings(max_examples=60)
def test_connections_are_those_of_a_convolution(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    before: tuple[int, int],
    dilation: int,
) -> None:
    """The matrix written out from them is torch's convolution, on images of one number each."""
    fits = [b + 2 * p >= dilation * (k - 1) + 1 for b, p, k in zip(before, padding, kernel, strict=True)]
    if not all(fits):
        return
    weight = torch.randn(1, 1, *kernel, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    places = torch.eye(before[0] * before[1], dtype=torch.float64).view(-1, 1, *before)
    expected = torch.conv2d(places, weight, stride=stride, padding=padding, dilation=dilation)
    shape = Shape(
        kernel, stride, padding, (dilation, dilation), 1, before, (int(expected.shape[2]), int(expected.shape[3]))
    )
    found = torch.zeros(expected.shape[2] * expected.shape[3], len(places), dtype=torch.float64)
    for after, place, tap in shape.connections:
        found[after, place] = weight.view(-1)[tap]
    assert torch.equal(found, expected.flatten(1).T)


def test_resnet50_stays_within_the_designs_bound(resnet: nn.Module) -> None:
    check_against_float64(problem_of(resnet, size=(32, 32), n=20), A[:2], B[:1])


def test_every_norm_of_resnet50_is_folded_and_every_sum_is_part_of_a_layer(resnet: nn.Module) -> None:
    folded = fold_network(trace_network(resnet, torch.zeros(1, 3, 32, 32)), torch.zeros(1, 3, 32, 32), make_layer)
    assert isinstance(folded, FoldedNetwork)
    assert sum(fold.norm is not None for fold in folded.folds) == 53
    kinds = {type(module).__name__ for module in folded.network.modules() if not list(module.children())}
    assert kinds == {"Layer", "MaxPool2d", "AdaptiveAvgPool2d"}
    assert all(node.target is not operator.add for node in folded.network.graph.nodes)
    assert folded.others == {}
    forms = [fold.layer.shape.form for fold in folded.folds]
    assert {form: forms.count(form) for form in forms} == {"convolution": 9, "matrix": 37, "dense": 8}


def test_weights_are_scaled_in_float64_and_rounded_once() -> None:
    model = network_of("normed")
    asked = problem_around(model, precision="float32")
    evaluator = FoldedEvaluator(asked)
    evaluator.block(np.array([0.7]), np.array([-1.3]))
    moved = (
        theta_of(model).astype(float)
        + 0.7 * asked.directions.delta.astype(float)
        + -1.3 * asked.directions.eta.astype(float)
    )
    weight, bias, gamma, beta = (moved[begin:end] for begin, end in ((0, 135), (135, 140), (140, 145), (145, 150)))
    norm = model[1]
    scale = gamma / np.sqrt(norm.running_var.numpy().astype(float) + norm.eps)
    layer = evaluator._folds[0].layer
    found = layer.weights.permute(0, 2, 1).reshape(5, 27).numpy()
    # One rounding to float32, and sums in float64 in another order: half a unit in the last place, and a little.
    np.testing.assert_allclose(found, weight.reshape(5, 27) * scale[:, None], rtol=2**-24 * 1.0001)
    shift = (bias - norm.running_mean.numpy().astype(float)) * scale + beta
    np.testing.assert_allclose(layer.bias.numpy(), shift, rtol=2**-24 * 1.0001)


def test_a_point_is_the_same_bits_alone_and_in_any_block() -> None:
    asked = problem_around(network_of("normed"), precision="float32")
    evaluator = FoldedEvaluator(asked)
    loss, accuracy = evaluator.block(A, B)
    for i, j in ((2, 1), (0, 0), (1, 0)):
        again = evaluator.block(A[i : i + 1], B[j : j + 1])
        assert (again[0].item(), again[1].item()) == (loss[i, j], accuracy[i, j])
    turned = FoldedEvaluator(asked).block(A[::-1].copy(), B)[0]
    assert turned[::-1].tobytes() == loss.tobytes()


@pytest.mark.parametrize("labels", ["soft", "clipped"])
def test_other_labels(labels: str) -> None:
    distributions = torch.rand(150, 3, generator=torch.Generator().manual_seed(1))
    soft = Targets(distributions / distributions.sum(1, keepdim=True))
    targets = soft if labels == "soft" else Targets(torch.arange(150) % 3, clip=0.3)
    check_against_float64(problem_around(network_of("normed"), targets=targets, precision="float32"))


def test_losses_that_are_not_finite_are_results() -> None:
    asked = problem_around(network_of("normed"), precision="float32")
    loss, _ = FoldedEvaluator(asked).block(np.array([0.0, 1e39, 0.0]), np.zeros(1))
    assert not np.isfinite(loss[1, 0])
    assert loss[0, 0] == loss[2, 0]
    assert np.isfinite(loss[0, 0])


def test_model_and_settings_are_left_alone() -> None:
    model = network_of("normed")
    asked = problem_around(model, precision="float32")
    before = {name: value.clone() for name, value in model.state_dict().items()}, asked.inputs.clone()
    fills = torch.utils.deterministic.fill_uninitialized_memory
    FoldedEvaluator(asked).block(A, B)
    assert all(torch.equal(value, before[0][name]) for name, value in model.state_dict().items())
    assert torch.equal(asked.inputs, before[1])
    assert torch.utils.deterministic.fill_uninitialized_memory == fills
    assert [type(module).__name__ for module in model][:2] == ["Conv2d", "BatchNorm2d"]


@pytest.mark.parametrize("precision", ["float64", "tf32", "bfloat16"])
def test_other_precisions_do_not_fit(precision: Any) -> None:
    unfit = FoldedEvaluator.why_unsupported(problem_around(network_of("normed"), precision=precision))
    assert unfit == f"its arithmetic is float32, not {precision}"


def test_parameters_outside_of_layers_move_too() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm, self.shift = nn.Linear(108, 5), nn.BatchNorm1d(5), nn.Parameter(torch.ones(5))
            self.last = nn.Sequential(nn.LayerNorm(5), nn.PReLU(), nn.Linear(5, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.norm(self.first(x.flatten(1))) + self.shift)

    torch.manual_seed(3)
    check_against_float64(problem_around(Shifted().eval(), precision="float32"))


def test_the_rule_takes_it_where_it_fits() -> None:
    assert choose(problem_around(network_of("normed"), precision="float32")).kind.name == "folded"
    facts = Direction(seed=0, sha256="", norm=1.0)
    zero = np.zeros(theta_of(network_of("normed")).size, np.float32)
    asked = replace(
        problem_around(network_of("normed"), precision="float32"),
        directions=DirectionPair(zero, zero, facts, facts, 0.0),
    )
    check_against_float64(asked)
