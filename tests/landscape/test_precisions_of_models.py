"""Parameters in float64, float16 and bfloat16, and networks that cannot be a point of a surface."""

from __future__ import annotations

import copy
import inspect
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import tmrepro
from tests.landscape.loops import A, B, assert_right, generator, loop, pair_of
from tmrepro.errors import UsageError

loss_surface = inspect.unwrap(tmrepro.loss_surface)  # as callers have it, without the tests' type checker
loss_line = inspect.unwrap(tmrepro.loss_line)

N, FEATURES, CLASSES = 150, 20, 3
X = torch.randn(N, FEATURES, generator=generator(1))
LABELS = torch.randint(CLASSES, (N,), generator=generator(2))


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(FEATURES, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, CLASSES))
        model(3 * X + 1)
    return model


def wide() -> nn.Sequential:
    model = network().double()
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(1 + 1e-8 * torch.rand(value.shape, generator=generator(4), dtype=torch.float64))
    return model


def mean(moved: nn.Module) -> Tensor:
    return functional.cross_entropy(moved(X.double()), LABELS)


def test_parameters_in_float64_stay_what_they_are():
    """Their last digits count: float32 would be 1e-8 off."""
    model = wide()
    found = loss_surface(model, "cross_entropy", X, LABELS, pair_of(model), (A, B))
    np.testing.assert_allclose(found.loss, loop(model, mean), rtol=1e-13)
    assert found.attrs["precision"] == "float64"
    assert all(value.dtype == torch.float64 for value in model.parameters())
    line = loss_line(model, "cross_entropy", X, LABELS, pair_of(model)[1], B)
    np.testing.assert_allclose(line.loss, found.loss[1], rtol=1e-12)
    bare = nn.Sequential(model[0], model[2], model[3])
    found = loss_surface(bare, "cross_entropy", X, LABELS, pair_of(bare), (A, B))
    assert found.attrs["evaluator"] == "prefix"
    np.testing.assert_allclose(found.loss, loop(bare, mean), rtol=1e-12)
    for precision in ("float32", "tf32", "bfloat16"):
        with pytest.raises(UsageError, match=f"in float64, which {precision} would round; leave precision out"):
            loss_surface(model, "cross_entropy", X, LABELS, grid=2, precision=precision)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("precision", [None, "float64"])
def test_half_precision_is_lifted_without_a_change_of_any_number(dtype, precision):
    model = network().to(dtype)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = loss_surface(model, "cross_entropy", X, LABELS, pair_of(model), (A, B), precision=precision)
    assert_right(found, loop(model, mean))
    assert found.attrs["precision"] == (precision or "float32")
    for name, value in model.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])
    if precision == "float64":
        np.testing.assert_allclose(found.loss, loop(model, mean), rtol=1e-12)


def test_parameters_of_several_precisions_are_all_in_the_widest():
    for dtypes, expected in (((torch.bfloat16, torch.float32), "float32"), ((torch.float16, torch.float64), "float64")):
        model = network()
        model[0].to(dtypes[0])
        model[3].to(dtypes[1])
        found = loss_surface(model, "cross_entropy", X, LABELS, pair_of(model), (A, B))
        assert_right(found, loop(model, mean))
        assert found.attrs["precision"] == expected


def test_curvature_and_paths_of_other_precisions(tmp_path):
    for model in (wide(), network().to(torch.bfloat16)):
        lifted = copy.deepcopy(model).double()
        found = tmrepro.curvature_of(model, "cross_entropy", X, LABELS, top=1, probes=2, density_probes=0)
        exact = tmrepro.curvature_of(
            lifted, "cross_entropy", X, LABELS, top=1, probes=2, density_probes=0, precision="float64"
        )
        assert float(found.eigenvalues[0]) == pytest.approx(float(exact.eigenvalues[0]), rel=1e-4)
        path = tmrepro.Trajectory(model, tmp_path / str(next(model.parameters()).dtype))
        path.record()
        with torch.no_grad():
            model[3].bias += 0.5
        path.record()
        seen = path.dataset("cross_entropy", X, LABELS, planes={"plane": (1, 2)})
        assert float(seen.distance[0]) == pytest.approx(0.5 * np.sqrt(CLASSES), rel=1e-2)
        assert float(seen.distance[1]) == 0
        assert all({"long_name", "units"} <= set(variable.attrs) for variable in seen.variables.values())
        expected = mean(copy.deepcopy(model).double().eval()).detach()
        assert float(seen.loss[1]) == pytest.approx(float(expected), rel=1e-5)


def test_directions_between_models_in_half_precision():
    model, other = network().to(torch.bfloat16), network().to(torch.bfloat16)
    with torch.no_grad():
        other[3].weight.mul_(2)
    toward = tmrepro.directions_toward(model, other)
    line = loss_line(model, "cross_entropy", X, LABELS, toward, [0.0, 1.0])
    for found, module in zip(line.loss.values, (model, other), strict=True):
        expected = mean(copy.deepcopy(module).double().eval()).detach()
        assert float(found) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_principal_components_of_a_path_in_another_precision(dtype, tmp_path):
    """From files and from states in memory, against the same numbers in float32 or float64."""
    model, states = network().to(dtype), []
    path = tmrepro.Trajectory(model, tmp_path)
    for seed in range(4):
        with torch.no_grad():
            for value in model.parameters():
                value.add_(torch.randn(value.shape, generator=generator(seed), dtype=torch.float32).to(dtype))
        path.record()
        states.append({name: value.clone() for name, value in model.state_dict().items()})
    exact = [{name: value.double() for name, value in state.items()} for state in states]
    expected = tmrepro.pca_directions(copy.deepcopy(model).double(), exact)
    for found in (path.directions(), tmrepro.pca_directions(model, states)):
        np.testing.assert_allclose(found.delta, expected.delta, atol=1e-6)
        np.testing.assert_allclose(found.coordinates, expected.coordinates, atol=1e-6)


class Casting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(FEATURES, CLASSES, dtype=torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.to(torch.bfloat16))


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(FEATURES, CLASSES)
        self.calls = nn.Buffer(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.fc(x) + self.calls


class Clamping(Counting):
    """Changes a buffer too, but to what it is already after the first call."""

    def forward(self, x: Tensor) -> Tensor:
        self.calls.fill_(2.0)
        return self.fc(x) * self.calls


def closed_over(dtype: torch.dtype) -> nn.Module:
    """Its forward was replaced by a function that holds on to it."""
    model = nn.Linear(FEATURES, CLASSES, dtype=dtype)
    model.forward = lambda x: functional.linear(x.to(dtype), model.weight, model.bias).to(x.dtype)
    return model


def lazy() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.Linear(FEATURES, CLASSES), nn.LazyBatchNorm1d(affine=False))


def test_a_buffer_that_settles_is_taken_by_the_plain_evaluator():
    model = Clamping()
    found = loss_surface(model, "cross_entropy", X, LABELS, pair_of(model), (A, B))
    assert_right(found, loop(model, mean))
    assert found.attrs["evaluator"] == "plain"
    assert float(model.calls) == 0


@pytest.mark.parametrize(
    ("model", "asked", "words"),
    [
        (Counting, {}, "buffer 'calls' changes with every call in eval mode"),
        (Casting, {}, "All parameters have one dtype here"),
        (lambda: closed_over(torch.bfloat16), {}, "uses the parameters of your module"),
        (lambda: closed_over(torch.float32), {}, "uses the parameters of your module"),
        (lazy, {}, "buffer '1.running_mean' has no shape yet; run the model on some inputs first"),
        (lambda: nn.LazyLinear(CLASSES), {}, "parameter 'weight' has no shape yet"),
        (
            lambda: nn.Linear(FEATURES, CLASSES, dtype=torch.complex64),
            {},
            "parameter 'weight' is complex64; theta is a vector",
        ),
        (
            network,
            {"directions": (np.ones(999), np.ones(999))},
            "delta: expected a vector of 237 numbers, got shape .999.",
        ),
        (network, {"directions": ([torch.ones(9)] * 7, [torch.ones(9)] * 7)}, r"a tensor per parameter \(6\), got 7"),
        (network, {"directions": ({"4.weight": torch.ones(3)}, {})}, "no parameter '4.weight'; did you mean"),
    ],
)
def test_what_is_no_point_of_a_surface(model, asked: dict[str, Any], words):
    with pytest.raises(UsageError, match=words):
        loss_surface(model(), "cross_entropy", X, LABELS, **({"grid": 2} | asked))


def test_directions_may_be_in_half_precision():
    model = network()
    pair = tuple(torch.from_numpy(vector).to(torch.bfloat16) for vector in pair_of(model))
    found = loss_surface(model, "cross_entropy", X, LABELS, pair, (A, B))
    same = loss_surface(model, "cross_entropy", X, LABELS, tuple(vector.float() for vector in pair), (A, B))
    assert found.identical(same)
