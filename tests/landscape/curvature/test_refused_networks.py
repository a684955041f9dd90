"""What has no Hessian, or none that differentiation gives, is refused in words."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

import tmrepro
from tests.landscape.curvature.conftest import built, inputs_of
from tmrepro.errors import ComputeError, UsageError

curvature_of = inspect.unwrap(tmrepro.curvature_of)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x**3

    @staticmethod
    @once_differentiable
    def backward(context, gradient):
        return 3 * context.saved_tensors[0] ** 2 * gradient


class Rounded(torch.autograd.Function):
    """A straight-through estimator: its gradient is not that of what it computes."""

    @staticmethod
    def forward(_, x):
        return torch.round(x * 4) / 4

    @staticmethod
    def backward(_, gradient):
        return gradient


class Forgetful(torch.autograd.Function):
    """A right gradient, in which autograd does not see the input: its second derivative would be 0."""

    @staticmethod
    def forward(context, x):
        context.kept = x.detach()
        return x**3

    @staticmethod
    def backward(context, gradient):
        return 3 * context.kept**2 * gradient


class With(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(5, 3), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.layer(x))


def detached(x: Tensor) -> Tensor:
    return x * x.detach()


class Clamped(nn.Module):
    """Settles after one call, so a surface has it; but theta* is not where its loss is."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.layer.weight.data.clamp_(-0.1, 0.1)
        return self.layer(x)


def inputs() -> Tensor:
    return torch.randn(90, 5, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: With(Once.apply), "cannot be differentiated twice"),
        (lambda: With(Rounded.apply), "autograd's gradient differs"),
        (lambda: With(Forgetful.apply), "autograd's second derivative differs"),
        (lambda: With(detached), "autograd's gradient differs"),
        (Clamped, "changes its parameters"),
    ],
    ids=["once", "straight through", "forgetful", "detached", "clamped"],
)
def test_networks_whose_second_derivative_autograd_does_not_have(make, words, targets):
    """Wherever their parameters are: wrong derivatives can agree with right ones along one direction by chance."""
    for seed in range(10):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = make()
        with pytest.raises(UsageError, match=words):
            curvature_of(model, "cross_entropy", inputs(), targets)


@pytest.mark.parametrize("name", ["smooth", "batch_norm", "pooled", "tied"])
@pytest.mark.parametrize("seed", range(5))
def test_networks_with_edges_are_taken_wherever_they_are(name, seed, targets):
    """ReLUs and pooling have no second derivative at their edges, which differences may cross."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = built(name)
        for value in model.parameters():
            nn.init.normal_(value, std=10.0 ** (seed - 2))
    curvature_of(model, "cross_entropy", inputs_of(model), targets, probes=2, density_probes=0, most_products=1)


def test_at_a_minimum_where_the_gradient_is_zero():
    """Soft labels that are the network's own outputs: loss and gradient are 0 at theta*, the Hessian is not."""
    for name in ("smooth", "batch_norm", "pooled"):
        model = built(name).eval()
        x = inputs_of(model)
        found = curvature_of(model, "cross_entropy", x, model(x).detach().softmax(1), probes=2, density_probes=0)
        assert found.eigenvalues[0] > 0


def test_an_operator_without_a_second_derivative_is_named(targets):
    def margin(outputs: Tensor, wanted: Tensor) -> Tensor:
        return nn.functional.multi_margin_loss(outputs, wanted, reduction="none")

    with pytest.raises(
        UsageError, match=r"cannot be differentiated twice: .*multi_margin_loss_backward is not implemented"
    ):
        curvature_of(built("smooth"), margin, inputs(), targets)


def test_a_hessian_that_is_not_finite():
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.t = nn.Parameter(torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            return x[:, :3] * self.t.abs() ** 1.5

    with pytest.raises(ComputeError, match="not finite"):
        curvature_of(Root(), lambda outputs, _: outputs.sum(1), inputs().abs(), torch.zeros(90))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"top": 0}, "top: expected a whole number from 1 to 57, since the network has 57 parameters"),
        ({"top": 58}, "from 1 to 57"),
        ({"top": 2.5}, "top: expected a whole number, got 2.5"),
        ({"top": True}, "top: expected a whole number, got True"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"tolerance": 0}, "tolerance"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"tolerance": "small"}, "tolerance"),
        ({"probes": 1}, "probes"),
        ({"density_probes": -1}, "density_probes: expected a whole number from 0"),
        ({"basis": 3}, "basis: expected a whole number from 4"),
        ({"batch": 0}, "batch"),
        ({"batch": "some"}, "batch"),
        ({"precision": "tf32"}, "precision: choose one of float32, float64"),
        ({"threads": 0}, "threads"),
        ({"most_products": 0}, "most_products"),
    ],
    ids=str,
)
def test_arguments_that_cannot_be(asked, words, targets):
    model = built("smooth")
    with pytest.raises(UsageError, match=words):
        curvature_of(model, "cross_entropy", inputs_of(model), targets, **asked)


def test_what_a_surface_refuses_is_refused_here_too(targets):
    model, x = built("smooth"), inputs()
    for broken, words in (
        ((model, "cross_entropy", x[:0], targets[:0]), "at least one input"),
        ((model, "cross_entropy", x, targets[:-1]), "targets"),
        ((model, "cross_entropy", x, targets + 9), "classes"),
        ((nn.ReLU(), "cross_entropy", x, targets), "no parameters"),
        ((model, nn.functional.cross_entropy, x, targets), "one loss per input"),
        (
            (nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3, track_running_stats=False)), "cross_entropy", x, targets),
            "batch",
        ),
    ):
        with pytest.raises(UsageError, match=words):
            curvature_of(*broken)
