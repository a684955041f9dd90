"""`kind: custom`: a user's factory, found by its dotted path; and what is wrong with one, said before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tmrepro.errors import UsageError
from tmrepro.networks import build_model
from tmrepro.networks.parameters import theta_of
from tmrepro.records import Signature
from tmrepro.spec import CustomModel
from tmrepro.usercode import load_factory

SOURCE = """
import torch
from torch import nn
from torch.nn import functional

NOT_A_FUNCTION = 3

def plain(hidden=4):
    return nn.Sequential(nn.Flatten(), nn.Linear(192, hidden), nn.ReLU(), nn.Linear(hidden, 3))

def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(5), nn.ReLU(), nn.LazyLinear(3))

def double():
    return plain().double()

def hungry(widths):
    widths.pop()
    return plain()

def number():
    return 3

def failing():
    raise KeyError("no such thing")

class Tuple(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = plain()
    def forward(self, x):
        return self.body(x), x

class Classes(Tuple):
    def forward(self, x):
        return self.body(x).argmax(1)

class Random(Tuple):
    def forward(self, x):
        return functional.dropout(self.body(x), 0.5)

class Dropout(Tuple):
    def forward(self, x):
        return functional.dropout(self.body(x), 0.5, training=self.training)

class Broken(Tuple):
    def forward(self, x):
        return self.nowhere(x)

def in_place():
    return nn.Sequential(nn.ReLU(inplace=True), plain())

def empty():
    return nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(3))

def frozen():
    return plain().requires_grad_(False)

def half_frozen():
    model = plain()
    model[1].requires_grad_(False)
    return model

def complex_():
    model = plain()
    model.extra = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    return model

def wide():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 4))

def of_another_size():
    return nn.Sequential(nn.Flatten(), nn.Linear(7, 3))
"""


@pytest.fixture
def custom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CustomModel]:
    """The spec of a model made by a function of a module that a user might have written."""
    (tmp_path / "users_networks.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "users_typo.py").write_text("def f(:\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    def spec(function: str, **arguments: Any) -> CustomModel:
        return CustomModel(name="mine", kind="custom", factory=f"users_networks:{function}", arguments=arguments)

    return spec


def built(spec: CustomModel, *, seed: int = 0) -> nn.Module:
    return build_model(spec, signature=Signature.of_pictures(classes=3, size=8), seed=seed)


def test_a_factory_is_called_with_its_arguments(custom: Callable[..., CustomModel]) -> None:
    assert [tuple(value.shape) for value in built(custom("plain", hidden=6)).parameters()] == [
        (6, 192),
        (6,),
        (3, 6),
        (3,),
    ]


def test_weights_are_as_the_factory_drew_them_unless_the_spec_asks(custom: Callable[..., CustomModel]) -> None:
    spec = custom("plain")
    same, again, other = (theta_of(built(spec, seed=seed)).tobytes() for seed in (1, 1, 2))
    assert same == again != other
    assert built(spec)[1].bias.abs().min() > 0
    assert not built(spec.model_copy(update={"init": "he"}))[1].bias.any()


def test_lazy_layers_get_the_same_bits_for_a_seed_and_leave_the_global_state(
    custom: Callable[..., CustomModel],
) -> None:
    found = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        found.append(theta_of(built(custom("lazy"), seed=4)).tobytes())
        assert torch.equal(torch.get_rng_state(), before)
    assert found[0] == found[1]
    assert not built(custom("lazy").model_copy(update={"init": "glorot"}))[1].bias.any()


def test_a_float64_network_becomes_float32(custom: Callable[..., CustomModel]) -> None:
    assert {value.dtype for value in built(custom("double")).parameters()} == {torch.float32}


def test_a_factory_cannot_change_the_spec(custom: Callable[..., CustomModel]) -> None:
    spec = custom("hungry", widths=[1, 2])
    built(spec)
    assert spec.arguments == {"widths": [1, 2]}


def test_dropout_and_partly_frozen_networks_are_welcome(custom: Callable[..., CustomModel]) -> None:
    assert built(custom("Dropout")).training
    assert [value.requires_grad for value in built(custom("half_frozen")).parameters()] == [False, False, True, True]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nowhere", r"users_networks:nowhere' cannot be loaded.*nowhere"),
        ("NOT_A_FUNCTION", r"is int, expected a function"),
        ("number", r"returned int, expected a torch module"),
        ("failing", r"failed with the arguments.*KeyError.*no such thing"),
        ("Tuple", r"'mine' gives tuple, expected a float tensor"),
        ("Classes", r"'mine' gives torch.int64, expected a float tensor"),
        ("Random", r"'mine' gives different outputs.*eval mode"),
        ("Broken", r"'mine' cannot take images of 3 x 8 x 8: AttributeError"),
        ("of_another_size", r"'mine' cannot take images of 3 x 8 x 8"),
        ("in_place", r"'mine' changes its inputs"),
        ("empty", r"'mine' has no trainable parameters \(0 "),
        ("frozen", r"'mine' has no trainable parameters \(4 "),
        ("complex_", r"'mine': parameter extra is torch.complex64"),
        ("wide", r"\[2, 4\].*expected \[2, 3\]"),
    ],
)
def test_what_is_wrong_with_a_factory_is_said(custom: Callable[..., CustomModel], function: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        built(custom(function))


def test_arguments_that_the_factory_does_not_take_are_refused(custom: Callable[..., CustomModel]) -> None:
    with pytest.raises(UsageError, match=r"failed with the arguments \{'depth': 3\}.*unexpected keyword"):
        built(custom("plain", depth=3))


@pytest.mark.usefixtures("custom")
def test_a_module_that_cannot_be_imported_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'users_typo:f' cannot be loaded: SyntaxError"):
        load_factory("users_typo:f")
    with pytest.raises(UsageError, match="PYTHONPATH"):
        load_factory("no_such_package.at_all:f")


def test_building_twice_does_not_depend_on_the_first(custom: Callable[..., CustomModel]) -> None:
    spec = custom("plain")
    first = built(spec)
    expected = theta_of(first).tobytes()
    with torch.no_grad():
        for value in first.parameters():
            value.zero_()
    assert theta_of(built(spec)).tobytes() == expected
