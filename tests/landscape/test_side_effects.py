"""Networks and losses with side effects: a surface is right by a loop with a fresh module a point, or refused in words."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import tmrepro
from tests.landscape import side_effects as cases
from tmrepro.errors import UsageError

loss_surface = inspect.unwrap(tmrepro.loss_surface)  # as callers have it, without the tests' type checker

A, B = [-1.0, -0.3, 0.0, 1.0], [0.0, 0.5, 1.5]
GRID = (A, B)
INPUTS = 150


def made(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return make()


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(INPUTS, cases.FEATURES, generator=generator), torch.randint(3, (INPUTS,), generator=generator)


def pair(model: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    size = sum(value.numel() for value in model.parameters())
    draws = np.random.default_rng(1).normal(size=(2, size)).astype(np.float32)
    return draws[0] / 3, draws[1] / 4


def by_a_fresh_module_a_point(make: Callable[[], nn.Module], x: torch.Tensor, y: torch.Tensor, loss: Any) -> np.ndarray:
    """The definition: a module that never was anywhere else, in float64."""
    found = np.empty((len(A), len(B)))
    for i, a in enumerate(A):
        for j, b in enumerate(B):
            model = made(make)
            delta, eta = (torch.from_numpy(vector).double() for vector in pair(model))
            vector = nn.utils.parameters_to_vector(model.parameters()).detach().double() + a * delta + b * eta
            model = model.double().eval()
            nn.utils.vector_to_parameters(vector, model.parameters())
            with torch.no_grad():
                found[i, j] = float(loss(model(x.double().clone()), y.clone()).double().mean())
    return found


def cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs, targets, reduction="none")


def check(make: Callable[[], nn.Module], data: Any, loss: Any = "cross_entropy", **asked: Any) -> Any:
    """Compare the surface with the definition, by the bound of the design; model and data stay as they were."""
    x, y = data
    model = made(make)
    before = (copy.deepcopy(model.state_dict()), x.clone(), y.clone())
    found = loss_surface(model, loss, x, y, pair(model), GRID, **asked)
    expected = by_a_fresh_module_a_point(make, x, y, cross_entropy if loss == "cross_entropy" else loss)
    assert (np.abs(found.loss.values - expected) <= 1e-5 * (np.abs(expected) + 0.01)).all()
    assert all(torch.equal(value, before[0][name]) for name, value in model.state_dict().items())
    assert torch.equal(x, before[1])
    assert torch.equal(y, before[2])
    return found


@pytest.mark.parametrize(
    "make",
    [
        cases.UnusedRelu, cases.UnusedModule, cases.UnusedView, cases.Assigned, cases.OutArgument, cases.UsedUnderBothNames,
        cases.UnusedBehindNorm, cases.ClampsWeights, cases.ClampsWithNorm, cases.ReadsParameters, cases.ReadsFrozen,
        cases.ReadsInNumpy, cases.BranchesOnWeights, cases.MaxNorm, cases.KeepsLast, cases.Squeezes, cases.ChangesInputs,
        cases.ChangesInputsBehindTheBack, cases.ChangesInNumpy, cases.bound_method, cases.TiedByName, cases.Two,
        cases.ViewOfAParameter, cases.keeps_shape_outside,
    ],
)  # fmt: skip
def test_the_value_is_that_of_a_fresh_module_at_each_point(make, data):
    check(make, data)


@pytest.mark.parametrize("evaluator", ["tracked", "prefix", "folded", "batched"])
@pytest.mark.parametrize(
    "make", [cases.UnusedRelu, cases.ClampsWithNorm, cases.ReadsFrozen, cases.ChangesInputs, cases.KeepsLast]
)
def test_no_evaluator_that_would_be_wrong_can_be_forced(make, evaluator, data):
    try:
        check(make, data, evaluator=evaluator)
    except UsageError as error:
        assert "cannot evaluate this surface" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (cases.ScalesWeights, "parameter 'fc2.weight' changes with every call"),
        (cases.CachesNorm, "keeps something computed from its parameters"),
        (cases.keeps_weight_outside, "keeps something computed from its parameters"),
        (cases.FusesInEval, "keeps something computed from its parameters|do not change"),
        (cases.MergesInEval, r"eval\(\) changes its parameter 'fc2.weight'"),
        (cases.StaysInTraining, "'norm' stays in train mode after eval"),
        (cases.Draws, "draws random numbers in eval mode"),
        (cases.DrawsRarely, "draws random numbers in eval mode"),
        (cases.DrawsInPython, "draws random numbers in eval mode"),
        (cases.Remembers, "changes with every call in eval mode|keeps state"),
        (cases.Counts, "attribute 'calls' changes with every call"),
        (cases.CountsInBuffer, "buffer 'calls' changes with every call"),
        (cases.NormOfBatch, "depends on the other inputs of the batch"),
        (cases.LessMean, "depends on the other inputs of the batch"),
        (cases.AttendsToBatch, "depends on the other inputs of the batch"),
        (cases.LargestOfBatch, "depends on the other inputs of the batch"),
        (cases.ByPosition, "depends on the other inputs of the batch"),
        (cases.OtherWhenLarge, "depends on the other inputs of the batch"),
        (cases.unwrapped_tuple, "uses the parameters of your module"),
        (cases.half_in_a_closure, "uses the parameters of your module"),
        (cases.head_in_a_closure, "uses the parameters of your module"),
        (cases.TiedByMemory, "'enc.weight' and parameter 'dec.weight' share memory"),
        (cases.BufferOfAParameter, "share memory"),
    ],
)
@pytest.mark.parametrize("mode", [True, False])
def test_what_is_no_function_of_parameters_and_one_input_is_refused(make, words, mode, data):
    torch.manual_seed(0)  # what draws rarely may draw nothing in all calls
    x, y = data
    model = made(make).train(mode)
    before = (copy.deepcopy(model.state_dict()), x.clone())
    if make is cases.MergesInEval and not mode:
        words = "unreachable"  # merged by the caller's own eval(): from then on it is a function
        loss_surface(model, "cross_entropy", x, y, pair(model), GRID)
        return
    with pytest.raises(UsageError, match=words):
        loss_surface(model, "cross_entropy", x, y, pair(model), GRID)
    assert all(torch.equal(value, before[0][name]) for name, value in model.state_dict().items())
    assert torch.equal(x, before[1])


@pytest.mark.parametrize("make", [cases.NormOfBatch, cases.LessMean, cases.AttendsToBatch, cases.ByPosition])
def test_all_inputs_can_be_asked_for_as_one_batch(make, data):
    found = check(make, data, batch="all")
    assert found.attrs["evaluator"] == "plain"


def test_a_network_over_all_nodes_of_a_graph_says_how_it_is_asked(data):
    adjacency = torch.eye(INPUTS).roll(1, 0) + torch.eye(INPUTS)

    class Graph(cases.Two):
        def __init__(self) -> None:
            super().__init__()
            self.adjacency = nn.Buffer(adjacency.clone())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.adjacency @ super().forward(x)

    with pytest.raises(UsageError, match="batch='all' is for a network that takes all of them at once"):
        loss_surface(made(Graph), "cross_entropy", *data, grid=2)
    check(Graph, data, batch="all")


def test_a_network_that_fails_on_one_input_alone_is_refused_where_a_batch_would_be_one(data):
    x, y = data
    with pytest.raises(UsageError, match="fails on one input alone, and the last batch"):
        loss_surface(made(cases.Squeezes), "cross_entropy", x[:129], y[:129], grid=2)


def test_theta_is_taken_before_any_forward(data):
    model = made(cases.MaxNorm)
    norm = float(nn.utils.parameters_to_vector(model.parameters()).detach().double().norm())
    found = loss_surface(model, "cross_entropy", *data, grid=2)
    assert found.attrs["theta_norm"] == pytest.approx(norm, rel=1e-6)


def ignoring(outputs, targets):
    targets[targets == 2] = -100
    return functional.cross_entropy(outputs, targets, reduction="none")


def centring(outputs, targets):
    outputs -= outputs.mean(1, keepdim=True)
    return functional.cross_entropy(2 * outputs, targets, reduction="none")


@pytest.mark.parametrize("loss", [ignoring, centring])
def test_a_loss_may_change_what_it_is_given(loss, data):
    found = check(cases.Two, data, loss)
    assert (
        found.accuracy[2, 0]
        == loss_surface(made(cases.Two), "cross_entropy", *data, grid=([0.0], [0.0])).accuracy[0, 0]
    )


def test_arrays_of_the_callers_stay_as_they_are(data):
    x, y = (value.numpy() for value in data)
    before = x.copy(), y.copy()
    loss_surface(made(cases.ChangesInputs), ignoring, x, y, grid=2)
    assert np.array_equal(x, before[0])
    assert np.array_equal(y, before[1])


def test_a_loss_of_the_whole_batch_or_of_chance_or_of_the_callers_parameters_is_refused(data):
    x, y = data
    model = made(cases.Two)

    class Penalty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.watched = [model]

        def forward(self, outputs, targets):
            return cross_entropy(outputs, targets) + sum(p.square().sum() for p in self.watched[0].parameters())

    refused = {
        "depends on the other inputs of the batch": lambda o, t: cross_entropy(o, t) / cross_entropy(o, t).sum(),
        "gives other values for the same outputs": lambda o, t: cross_entropy(o + torch.randn_like(o), t),
        "loss: uses the parameters of your module": lambda o, t: cross_entropy(o, t) + model.fc1.weight.square().sum(),
        "uses the parameters of your module, which": Penalty(),
    }
    for words, loss in refused.items():
        with pytest.raises(UsageError, match=words):
            loss_surface(model, loss, x, y, grid=2)


def test_a_loss_with_buffers_is_left_alone(data):
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]), reduction="none")
    for given in (loss, functools.partial(functional.cross_entropy, weight=loss.weight, reduction="none")):
        found = loss_surface(made(cases.Two), given, *data, grid=3, precision="float64")
        single = loss_surface(made(cases.Two), given, *data, grid=3)
        np.testing.assert_allclose(found.loss, single.loss, rtol=1e-5)
        assert "accuracy" in found
    assert loss.weight.dtype == torch.float32


def test_float64_is_refused_in_words_where_something_keeps_float32(data):
    weight = torch.tensor([1.0, 2.0, 3.0])

    class Makes(cases.Two):
        def forward(self, x):
            return super().forward(x @ torch.eye(cases.FEATURES, dtype=torch.float32))

    class MakesAny(cases.Two):
        def forward(self, x):
            return super().forward(x @ torch.eye(cases.FEATURES))

    asked = {"grid": 2, "precision": "float64"}
    found, expected = (loss_surface(made(make), "cross_entropy", *data, **asked) for make in (MakesAny, cases.Two))
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-12)
    with pytest.raises(UsageError, match="precision: float64: the model fails"):
        loss_surface(made(Makes), "cross_entropy", *data, grid=2, precision="float64")
    with pytest.raises(UsageError, match="precision: float64: the loss fails"):
        loss_surface(
            made(cases.Two), lambda o, t: functional.cross_entropy(o, t, weight, reduction="none"), *data, grid=2,
            precision="float64",
        )  # fmt: skip


def test_bfloat16_is_no_constant(data):
    found = loss_surface(made(cases.Two), "cross_entropy", *data, grid=4, precision="bfloat16")
    exact = loss_surface(made(cases.Two), "cross_entropy", *data, grid=4)
    np.testing.assert_allclose(found.loss, exact.loss, rtol=0.05)
    assert len(np.unique(found.loss)) == 16


@pytest.mark.parametrize(
    ("loss", "targets", "outputs", "has"),
    [
        (lambda o, t: functional.binary_cross_entropy_with_logits(o[:, 0], t.float(), reduction="none"), 2, 1, False),
        (lambda o, t: (o.sum(1) - t).square(), 3, 3, False),
        (lambda o, t: ((o - t[:, None]) ** 2).mean(1), 3, 3, False),
        (lambda o, t: functional.gaussian_nll_loss(o[:, 0], t.float(), o[:, 1].exp(), reduction="none"), 2, 2, False),
        (cross_entropy, 3, 3, True),
        (lambda o, t: functional.cross_entropy(o, t, label_smoothing=0.1, reduction="none"), 3, 3, True),
        (lambda o, t: functional.multi_margin_loss(o, t, reduction="none"), 3, 3, True),
        (
            lambda o, t: functional.nll_loss(o.log_softmax(1), t, torch.tensor([1.0, 3, 2]), reduction="none"),
            3,
            3,
            True,
        ),
    ],
)
def test_accuracy_is_of_classes_alone(loss, targets, outputs, has, data):
    model = made(lambda: nn.Sequential(nn.Linear(cases.FEATURES, outputs)))
    found = loss_surface(model, loss, data[0], data[1] % targets, grid=2)
    assert ("accuracy" in found) is has
