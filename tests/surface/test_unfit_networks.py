"""Networks that `tracked`, `prefix` or `folded` cannot take, the reason that each gives, and what the rule then takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests.surface.problems import problem_around
from tmrepro.surface import Choice, choose, find_evaluator

CLASSES = 3


def layers(*behind: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), *behind)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(108, 8), nn.Linear(116, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(1)
        return self.last(torch.cat([flat, self.first(flat)], 1))


class Undecided(nn.Module):
    """Asks about values, which a graph cannot."""

    def __init__(self, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(108, CLASSES), norm or nn.Identity()

    def forward(self, x: torch.Tensor) -> Any:
        return self.norm(self.first(x.flatten(1))) if x.sum() > 0 else self.first(-x.flatten(1))


class Counting(nn.Module):
    """Does something else from its second call on; its graph knows the first alone."""

    def __init__(self, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.norm, self.calls = nn.Linear(108, CLASSES), norm or nn.Identity(), 0

    def forward(self, x: torch.Tensor) -> Any:
        self.calls += 1
        return self.norm(self.first(x.flatten(1))) * (1 if self.calls == 1 else 2)


@pytest.mark.parametrize(
    ("model", "tracked", "prefix"),
    [
        (layers(nn.Linear(108, 8), nn.Tanh(), nn.Linear(8, CLASSES)), "Tanh follows the first layer", None),
        (layers(nn.Linear(108, 8), nn.Linear(8, CLASSES)), "no ReLU between", None),
        (layers(nn.Linear(108, CLASSES)), "do not follow one another", None),
        (layers(nn.BatchNorm1d(108), nn.Linear(108, CLASSES)), "is a BatchNorm1d", "is a BatchNorm1d"),
        (Branching(), "cat follows the first layer", "depends on what comes before"),
        (Undecided(), "cannot be traced", "cannot be traced"),
        (Counting(), "gives other outputs", "gives other outputs"),
        (
            nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.ReLU(), nn.Flatten(), nn.Linear(96, CLASSES)),
            "groups",
            "groups",
        ),
        (nn.Sequential(nn.Conv2d(3, 6, 1), nn.Flatten(), nn.Linear(216, CLASSES)), "no ReLU", "fewer than 16 inputs"),
    ],
)
def test_what_does_not_fit_says_why(model: nn.Module, tracked: str | None, prefix: str | None) -> None:
    for name, expected in (("tracked", tracked), ("prefix", prefix)):
        why = find_evaluator(name).why_unsupported(problem_around(model.eval(), precision="float32"))
        assert why is None if expected is None else expected in why


def shared() -> nn.Module:
    """A matrix that is used twice, each time with its norm: neither can be folded into it."""
    matrix = nn.Linear(108, 108)
    return nn.Sequential(
        nn.Flatten(), matrix, nn.BatchNorm1d(108), matrix, nn.BatchNorm1d(108), nn.ReLU(), nn.Linear(108, CLASSES)
    )


def watched() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, CLASSES), nn.BatchNorm1d(CLASSES))
    model[1].register_forward_hook(lambda _module, _inputs, output: 2 * output)
    return model


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: Undecided(nn.BatchNorm1d(CLASSES)), "its forward cannot be traced (TraceError)"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(108, CLASSES)), "the network has no batch norm"),
        (
            lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, CLASSES)),
            "it has no batch norm behind a convolution or matrix",
        ),
        (
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(108, CLASSES), nn.ReLU(), nn.BatchNorm1d(CLASSES)),
            "it has no batch norm behind a convolution or matrix",
        ),
        (
            lambda: nn.Sequential(
                nn.Flatten(), nn.Linear(108, CLASSES), nn.BatchNorm1d(CLASSES, track_running_stats=False)
            ),
            "its forward cannot be traced (ValueError)",
        ),
        (lambda: Counting(nn.BatchNorm1d(CLASSES)), "its graph gives other outputs than itself"),
        (shared, "it has no batch norm behind a convolution or matrix"),
        (watched, "it has no batch norm behind a convolution or matrix"),
    ],
)
def test_what_cannot_be_folded_says_why(model: Callable[[], nn.Module], words: str) -> None:
    asked = problem_around(model().eval(), precision="float32")
    assert find_evaluator("folded").why_unsupported(asked) == words
    chosen = choose(asked)
    assert chosen.kind.name != "folded"
    assert f"not folded: {words}" in chosen.reason


def test_the_rule_takes_the_first_that_fits_and_says_why() -> None:
    def chosen(model: nn.Module) -> Choice:
        return choose(problem_around(model.eval(), precision="float32"))

    assert chosen(layers(nn.Linear(108, 8), nn.ReLU(), nn.Linear(8, CLASSES))).kind.name == "tracked"
    turned = chosen(layers(nn.Linear(108, 8), nn.Tanh(), nn.Linear(8, CLASSES)))
    assert turned.kind.name == "prefix"
    assert "not tracked: Tanh follows the first layer" in turned.reason
    assert "not folded: the network has no batch norm" in turned.reason
    assert chosen(Undecided()).kind.name == "plain"
