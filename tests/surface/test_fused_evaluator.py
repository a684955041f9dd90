"""Layers with what follows them as one kernel each, against the plain loop in float64.

Without a GPU the two kernels are stood in for by what their docstrings say, in torch; all the rest is the real thing. With
one, the kernels themselves are held against that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.surface import kernels_in_torch
from tmrepro.directions.gaussian import draw_directions
from tmrepro.networks.networks import convolutional_network
from tmrepro.networks.parameters import layout_of, theta_of
from tmrepro.numerics.inference import Targets
from tmrepro.surface import PlainEvaluator, Problem, choose, find_evaluator
from tmrepro.surface.gpu import fused as fused_module
from tmrepro.surface.gpu import gpu_kernels
from tmrepro.surface.gpu.fused import FusedEvaluator
from tmrepro.surface.gpu.fused_layers import fuse_network, places_first, round_tf32
from tmrepro.surface.trace import trace_network

CLASSES = 4
A, B = np.array([0.0, 0.4, -0.9]), np.array([0.3, -1.0])
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or gpu_kernels.why_unsupported(torch.device("cuda")) is not None,
    reason="needs a GPU",
)


@pytest.fixture(scope="module", autouse=True)
def without_a_gpu() -> Iterator[None]:
    """On a machine that has none."""
    with pytest.MonkeyPatch.context() as patch:
        if not torch.cuda.is_available():
            patch.setattr(gpu_kernels, "apply_layer", kernels_in_torch.layer)
            patch.setattr(gpu_kernels, "take_largest", kernels_in_torch.largest)
            patch.setattr(fused_module, "recorded", lambda compute, _device: compute)
        yield


def moved_to(problem: Problem, device: str) -> Problem:
    targets = replace(problem.targets, values=problem.targets.values.to(device))
    return replace(problem, model=problem.model.to(device), inputs=problem.inputs.to(device), targets=targets)


def where_it_runs(problem: Problem) -> Problem:
    return moved_to(problem, "cuda") if torch.cuda.is_available() else problem


def check(problem: Problem, a: np.ndarray = A, b: np.ndarray = B) -> None:
    loss, accuracy = FusedEvaluator(where_it_runs(problem)).block(a, b)
    exact = replace(moved_to(problem, "cpu"), precision="float64")
    expected, right = PlainEvaluator(exact).block(a, b)
    assert (np.abs(loss - expected) <= 1e-5 * (np.abs(expected) + 0.01)).all()
    assert np.abs(accuracy - right).max() <= 2 / len(problem.inputs)


def problem_of(
    model: nn.Module, *, size: tuple[int, int] | None, n: int, seed: int = 0, precision: Any = "float32"
) -> Problem:
    theta, layout = theta_of(model), layout_of(model)
    pair = draw_directions((seed + 1, seed + 2), theta=theta, layout=layout, normalization="l2", moves="all")
    inputs = torch.randn(n, 3, *(size or ()), generator=torch.Generator().manual_seed(seed))
    return Problem(model.eval(), pair, inputs, Targets(torch.arange(n) % CLASSES), precision)


@dataclass(frozen=True)
class Stage:
    """One convolution of a random network, and what follows it."""

    width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: int
    bias: bool
    norm: bool
    relu: str
    residual: bool
    way_first: bool
    pooled: bool


@st.composite
def stages(draw: st.DrawFn) -> Stage:
    return Stage(
        width=draw(st.sampled_from([3, 4, 9, 40, 70])),
        kernel=draw(st.tuples(st.sampled_from([1, 3, 5]), st.sampled_from([1, 2, 3]))),
        stride=draw(st.tuples(st.integers(1, 2), st.integers(1, 3))),
        dilation=draw(st.sampled_from([1, 1, 2])),
        bias=draw(st.booleans()),
        norm=draw(st.booleans()),
        relu=draw(st.sampled_from(["module", "inplace", "function", "none"])),
        residual=draw(st.booleans()),
        way_first=draw(st.booleans()),
        pooled=draw(st.booleans()),
    )


class RandomNetwork(nn.Module):
    """Convolutions with and without batch norm and a sum around them, pooling, and a head on means or on all places."""

    def __init__(self, plan: list[Stage], *, size: tuple[int, int], means: bool, seed: int) -> None:
        super().__init__()
        self.plan, channels = plan, 3
        self.convolutions, self.norms, self.relus = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.ways = nn.ModuleList()
        for stage in plan:
            padding = tuple(stage.dilation * (k // 2) + (k % 2 == 0) for k in stage.kernel)
            self.convolutions.append(
                nn.Conv2d(channels, stage.width, stage.kernel, stage.stride, padding, stage.dilation, bias=stage.bias)
            )
            self.norms.append(nn.BatchNorm2d(stage.width) if stage.norm else nn.Identity())
            same = channels == stage.width and stage.stride == (1, 1)
            self.ways.append(nn.Identity() if same else nn.Conv2d(channels, stage.width, 1, stage.stride))
            self.relus.append(nn.ReLU(inplace=stage.relu == "inplace"))
            channels = stage.width
        self.pool, self.mean = nn.MaxPool2d(3, stride=2, padding=1), nn.AdaptiveAvgPool2d(1) if means else nn.Identity()
        self.head, self.flatten = nn.Identity(), nn.Flatten()
        self.to(torch.float32).eval()
        width = self.features(torch.zeros(1, 3, *size)).shape[1]
        self.head = nn.Linear(width, CLASSES)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for value in self.parameters():
                nn.init.normal_(value, std=1 / np.sqrt(max(1, value[0].numel())) if value.ndim > 1 else 0.5)
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_()
                    module.running_var.uniform_(0.5, 2)

    def features(self, x: Tensor) -> Tensor:
        each = zip(self.plan, self.convolutions, self.norms, self.relus, self.ways, strict=True)
        for stage, convolution, norm, relu, way in each:
            parts = [norm(convolution(x))]
            if stage.residual and stage.kernel[1] != 2:
                parts.insert(len(parts) - stage.way_first, x if isinstance(way, nn.Identity) else way(x))
            x = sum(parts[1:], start=parts[0])
            if stage.relu == "function":
                x = nn.functional.relu(x)
            elif stage.relu != "none":
                x = relu(x)
            if stage.pooled:
                x = self.pool(x)
        return self.flatten(self.mean(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@settings(max_examples=25)
@given(
    st.lists(stages(), min_size=1, max_size=4),
    st.tuples(st.integers(5, 7), st.integers(5, 7)),
    st.booleans(),
    st.integers(1, 3),
    st.integers(0, 10**6),
)
def test_any_network_of_layers_and_pooling_stays_within_the_designs_bound(
    plan: list[Stage], size: tuple[int, int], means: bool, n: int, seed: int
) -> None:
    model = RandomNetwork(plan, size=size, means=means, seed=seed)
    asked = problem_of(model, size=size, n=n, seed=seed)
    assert not isinstance(fuse_network(trace_network(model, asked.inputs), asked.inputs, tf32=False), str)
    check(asked)


def test_resnet50_stays_within_the_designs_bound(resnet: nn.Module) -> None:
    check(problem_of(resnet.cpu(), size=(32, 32), n=20), A[:1], B[:1])


def test_resnet50_is_layers_and_pooling_alone(resnet: nn.Module) -> None:
    fused = fuse_network(trace_network(resnet.cpu(), torch.zeros(1, 3, 32, 32)), torch.zeros(1, 3, 32, 32), tf32=False)
    assert not isinstance(fused, str)
    calls = [node for node in fused.network.graph.nodes if node.op not in {"placeholder", "output"}]
    kinds = [type(fused.network.get_submodule(str(node.target))).__name__ for node in calls]
    assert {kind: kinds.count(kind) for kind in kinds} == {"FusedLayer": 50, "_Largest": 1, "_Mean": 1, "_Flatten": 1}
    assert sum(fold.layer.taken is not None for fold in fused.folds) == 4  # what the first block of a group adds
    assert sum(fold.norm is not None for fold in fused.folds) == 53
    last = [fold.layer for fold in fused.folds if fold.weight == "layer4.2.conv2.weight"]
    assert last[0].weights.shape == (512, 512)  # of 9 taps the one that meets a map of 1 x 1


@pytest.mark.parametrize(
    ("one", "other", "holder"),
    [
        ({"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 1, "stride": 2}, ["one.weight"]),
        ({"kernel_size": 1, "stride": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}, ["other.weight"]),
        ({"kernel_size": 1}, {"kernel_size": 1}, ["one.weight"]),
        ({"kernel_size": 1, "stride": 3, "padding": 2}, {"kernel_size": 1, "stride": 2}, ["one.weight"]),
        ({"kernel_size": 3, "padding": 1}, {"kernel_size": 3, "padding": 1}, []),
    ],
)
@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_two_convolutions_that_are_added_are_one_layer(
    one: dict[str, Any], other: dict[str, Any], holder: list[str], precision: Any
) -> None:
    """Where one of them has a single tap, which all places meet; some places may meet no tap of the other."""

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before = nn.Conv2d(3, 5, 1)
            self.one, self.other = nn.Conv2d(5, 40, **one), nn.Conv2d(3, 40, **other)
            self.norm, self.relu, self.last = nn.BatchNorm2d(40), nn.ReLU(), nn.LazyLinear(CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            inner = self.before(x)
            return self.last(self.relu(self.other(x) + self.norm(self.one(inner))).flatten(1))

    torch.manual_seed(0)
    model = Sum()
    model(torch.randn(9, 3, 7, 7))
    asked = problem_of(model, size=(7, 7), n=20, precision=precision)
    fused = fuse_network(trace_network(model, asked.inputs), asked.inputs, tf32=precision == "tf32")
    assert not isinstance(fused, str)
    assert [fold.weight for fold in fused.folds if fold.layer.taken is not None] == holder
    if precision == "float32":
        check(asked)
    else:
        loss = FusedEvaluator(where_it_runs(asked)).block(A, B)[0]
        np.testing.assert_allclose(loss, PlainEvaluator(moved_to(asked, "cpu")).block(A, B)[0], rtol=1e-2)


class Around(nn.Module):
    """What is added to the second layer's outputs is what goes into it."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.last = first, second, nn.LazyLinear(CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.first(x if isinstance(self.first, nn.Conv2d) else x.flatten(1))
        return self.last((self.second(inner) + inner).flatten(1))


@pytest.mark.parametrize(
    "model",
    [Around(nn.Conv2d(3, 5, 1), nn.Conv2d(5, 5, 3, padding=1)), Around(nn.Linear(48, 9), nn.Linear(9, 9))],
    ids=["maps", "vectors"],
)
def test_a_layer_that_is_needed_twice_stays(model: Around) -> None:
    model(torch.randn(2, 3, 4, 4))
    check(problem_of(model, size=(4, 4), n=20))


def test_images_are_in_groups_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = problem_of(convolutional_network([6, CLASSES], kernel=3, stride=2), size=(8, 8), n=600, precision="float32")
    monkeypatch.setattr(fused_module, "LAYER_BYTES", 4 * 3 * 64 * 300)
    assert FusedEvaluator.blocks(asked) == {"images": 256, "points": 1}
    check(asked)
    monkeypatch.setattr(fused_module, "LAYER_BYTES", 2**30)
    assert FusedEvaluator.blocks(asked) == {"images": 768, "points": 1}


def test_a_point_is_the_same_bits_alone_and_in_any_block() -> None:
    asked = problem_of(convolutional_network([6, CLASSES], kernel=3, stride=2), size=(8, 8), n=20)
    evaluator = FusedEvaluator(where_it_runs(asked))
    loss, accuracy = evaluator.block(A, B)
    for i, j in ((2, 1), (0, 0), (1, 0)):
        again = evaluator.block(A[i : i + 1], B[j : j + 1])
        assert (again[0].item(), again[1].item()) == (loss[i, j], accuracy[i, j])


@pytest.mark.parametrize("labels", ["soft", "clipped"])
def test_other_labels(labels: str) -> None:
    asked = problem_of(convolutional_network([6, CLASSES], kernel=3, stride=2), size=(8, 8), n=20)
    values = torch.rand(20, CLASSES, generator=torch.Generator().manual_seed(1))
    soft = Targets(values / values.sum(1, keepdim=True))
    check(replace(asked, targets=soft if labels == "soft" else replace(asked.targets, clip=0.3)))


def test_losses_that_are_not_finite_are_results() -> None:
    asked = problem_of(convolutional_network([6, CLASSES], kernel=3, stride=2), size=(8, 8), n=20)
    loss, _ = FusedEvaluator(where_it_runs(asked)).block(np.array([0.0, 1e39, 0.0]), np.zeros(1))
    assert not np.isfinite(loss[1, 0])
    assert loss[0, 0] == loss[2, 0]
    assert np.isfinite(loss[0, 0])


def test_the_model_is_left_alone() -> None:
    model = convolutional_network([6, CLASSES], kernel=3, stride=2)
    asked = where_it_runs(problem_of(model, size=(8, 8), n=20))
    before = {name: value.clone() for name, value in model.state_dict().items()}, asked.inputs.clone()
    FusedEvaluator(asked).block(A, B)
    assert all(torch.equal(value, before[0][name]) for name, value in model.state_dict().items())
    assert torch.equal(asked.inputs, before[1])


def test_tf32_is_near_float32_and_has_its_bits() -> None:
    asked = problem_of(convolutional_network([40, 12, CLASSES], kernel=3, stride=2), size=(8, 8), n=300)
    full = FusedEvaluator(where_it_runs(asked)).block(A, B)[0]
    evaluator = FusedEvaluator(where_it_runs(replace(asked, precision="tf32")))
    low = evaluator.block(A, B)[0]
    assert 1e-6 < np.max(np.abs(low - full) / (full + 0.01)) < 1e-2
    weights = evaluator._weights._layers[0].weights.contiguous()
    assert not (weights.view(torch.int32) & 0x1FFF).any()


def test_numbers_are_rounded_to_the_nearest_of_ten_bits() -> None:
    given = torch.tensor(
        [1.0, 1 + 2**-11, 1 + 2**-12, -1 - 3 * 2**-12, 3.4028e38, torch.inf, -torch.inf, torch.nan, 0.0]
    )
    expected = torch.tensor([1.0, 1 + 2**-10, 1.0, -1 - 2**-10, torch.inf, torch.inf, -torch.inf, torch.nan, 0.0])
    round_tf32(given)
    assert torch.equal(given.nan_to_num(7), expected.nan_to_num(7))


def test_images_come_innermost_with_zeros_behind_them() -> None:
    images = torch.randn(3, 2, 4, 5)
    values = places_first(images)
    assert values.shape == (2, 20, 256)
    assert torch.equal(values[:, :, :3].permute(2, 0, 1).reshape(3, 2, 4, 5), images)
    assert not values[:, :, 3:].any()


class Multiplied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 5, 3), nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).mean((2, 3)) * 2)


def convolution(**options: Any) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 6, 3, **options), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, CLASSES))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Multiplied, "no kernel for its mean"),
        (lambda: convolution(groups=3), "no kernel for its Conv2d"),
        (lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), *list(convolution())[1:]), "no kernel for its Tanh"),
        (lambda: nn.Sequential(nn.BatchNorm2d(3), *convolution()), "no kernel for its BatchNorm2d"),
        (lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.MaxPool2d(2, ceil_mode=True)), "no kernel for its MaxPool2d"),
        (lambda: nn.Sequential(nn.Conv2d(3, CLASSES, 3)), "not one vector per image"),
    ],
)
def test_what_does_not_fit_says_why(make: Callable[[], nn.Module], why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_module, "why_unsupported", lambda _device: None)
    found = FusedEvaluator.why_unsupported(problem_of(make(), size=(8, 8), n=2))
    assert found is not None
    assert why in found


def test_other_problems_are_left_to_others() -> None:
    asked = problem_of(convolution(), size=(8, 8), n=2)
    assert "float32 and tf32" in str(FusedEvaluator.why_unsupported(replace(asked, precision="bfloat16")))
    own = replace(asked.targets, loss=lambda outputs, _: outputs.sum(1))
    assert "caller's own" in str(FusedEvaluator.why_unsupported(replace(asked, targets=own)))
    assert "for GPUs, not for the cpu" in str(FusedEvaluator.why_unsupported(moved_to(asked, "cpu")))


@needs_gpu
@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_a_gpu_takes_it_by_rule_and_agrees_with_the_cpu(precision: Any) -> None:
    asked = problem_of(convolutional_network([40, 70, CLASSES], kernel=3, stride=2), size=(8, 8), n=300)
    there = moved_to(replace(asked, precision=precision), "cuda")
    assert choose(there).kind.name == "fused"
    loss = find_evaluator("fused")(there).block(A, B)[0]
    expected = PlainEvaluator(moved_to(asked, "cpu")).block(A, B)[0]
    np.testing.assert_allclose(loss, expected, rtol=1e-4 if precision == "float32" else 1e-2)
