"""The order in memory that training goes by: a rule, for networks that work so; nothing else may notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests.training.small import short
from tmrepro.spec import AdamOptimizer, SgdOptimizer, TrainingSpec
from tmrepro.training import Examples, Trained, loop, train
from tmrepro.training.layout import LEAST_BATCH, LEAST_SIDE, may_be_channels_last, memory_format


def seeded(make: Callable[[], nn.Module]) -> Callable[[int], nn.Module]:
    def build(seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return make()

    return build


class Normed(nn.Module):
    """Convolutions of one and of nine taps, batch norm, dropout; `head` flattens 4 x 16 x 16 activations."""

    def __init__(self, head: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.Dropout2d(0.1)
        )
        self.last = nn.Linear(4 * 16 * 16, 3)
        self.head = head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.body(x)
        return self.last(hidden.flatten(1) if self.head is None else self.head(hidden))


def in_its_own_order(hidden: torch.Tensor) -> torch.Tensor:
    return hidden.as_strided((len(hidden), 1024), (1024, 1))


class ViewedInTraining(Normed):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.body(x)
        return self.last(hidden.view(len(x), -1) if self.training else hidden.flatten(1))


class BackwardView(torch.autograd.Function):
    @staticmethod
    def forward(_context: object, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(_context: object, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.view(len(gradient), -1).view_as(gradient)


class ViewedGradient(Normed):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.body[3](BackwardView.apply(self.body[:3](x)))
        return self.last(hidden.flatten(1))


class TwoNames(Normed):
    """Two parameters in one memory, tied by storage and not by name."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.again.weight.data = self.body[0].weight.data


@pytest.fixture
def pictures() -> Examples:
    """So many that the last batch of an epoch is a short one."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(3, (LEAST_BATCH + 12,), generator=generator)
    inputs = torch.randn(3, 3, LEAST_SIDE, LEAST_SIDE, generator=generator)[labels]
    inputs = inputs + 0.5 * torch.randn(inputs.shape, generator=generator)
    return Examples(inputs[:-5], labels[:-5], inputs[-5:], labels[-5:], 3)


def large(**fields: Any) -> TrainingSpec:
    return short(**{"batch_size": LEAST_BATCH, "max_epochs": 3, **fields})


def same(one: Trained, other: Trained) -> bool:
    mine, theirs = one.model.state_dict(), other.model.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in mine.items()) and list(
        one.history.train_losses
    ) == list(other.history.train_losses)


@pytest.mark.parametrize(
    ("shape", "batch_size", "expected"),
    [
        ((128, 3, 32, 32), 128, True),
        ((50_000, 3, 224, 224), 256, True),
        ((50_000, 3, 32, 32), 127, False),
        ((127, 3, 32, 32), 256, False),
        ((50_000, 3, 31, 32), 128, False),
        ((50_000, 3, 32, 16), 128, False),
        ((50_000, 3072), 128, False),
    ],
)
def test_the_rule_asks_for_large_pictures_and_batches(
    shape: tuple[int, ...], batch_size: int, *, expected: bool
) -> None:
    assert may_be_channels_last(torch.empty(1).expand(shape), batch_size=batch_size) == expected


def test_nothing_changes_on_a_gpu() -> None:
    assert not may_be_channels_last(torch.empty(128, 3, 32, 32, device="meta"), batch_size=128)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (Normed, "channels_last"),
        (lambda: nn.Sequential(nn.Conv2d(3, 3, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "channels_last"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3072, 3)), "contiguous"),
        (lambda: Normed(lambda hidden: hidden.view(len(hidden), -1)), "contiguous"),
        (lambda: Normed(lambda hidden: hidden.contiguous().view(len(hidden), -1)), "channels_last"),
        (lambda: Normed(in_its_own_order), "contiguous"),
        (ViewedGradient, "contiguous"),
        (ViewedInTraining, "contiguous"),
        (TwoNames, "contiguous"),
    ],
    ids=[
        "normed",
        "no norm",
        "dense",
        "view",
        "copy",
        "strides",
        "view of a gradient",
        "view in training",
        "two names",
    ],
)
def test_a_network_that_needs_contiguous_memory_keeps_it(
    make: Callable[[], nn.Module], expected: str, pictures: Examples
) -> None:
    """And is trained to its end either way."""
    model = seeded(make)(0)
    assert memory_format(model, pictures.inputs, batch_size=LEAST_BATCH, seed=0) == expected
    trained = train(large(max_epochs=1), build=seeded(make), examples=pictures, seed=0)
    assert trained.memory_format == expected


def test_trying_leaves_network_and_random_state_as_they_were(pictures: Examples) -> None:
    model, untouched = seeded(Normed)(0), seeded(Normed)(0)
    before = torch.get_rng_state()
    memory_format(model, pictures.inputs, batch_size=LEAST_BATCH, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in model.state_dict().items():
        assert torch.equal(value, untouched.state_dict()[name])
        assert value.stride() == untouched.state_dict()[name].stride()
    assert all(value.grad is None for value in model.parameters())


@pytest.mark.parametrize(
    "optimizer",
    [AdamOptimizer(lr=0.02), SgdOptimizer(name="sgd", lr=0.05, momentum=0.9)],
    ids=["adam", "momentum"],
)
def test_a_continued_training_channels_last_has_the_same_bits(
    optimizer: AdamOptimizer | SgdOptimizer, pictures: Examples
) -> None:
    """A checkpoint's moments are contiguous, where those of the parameters in motion are not."""
    kept: list[bytes] = []
    spec = large(optimizer=optimizer)
    whole = train(spec, build=seeded(Normed), examples=pictures, seed=4, save=lambda pack: kept.append(pack()))
    assert whole.memory_format == "channels_last"
    for saved in kept:
        again: list[bytes] = []
        continued = train(
            spec,
            build=seeded(Normed),
            examples=pictures,
            seed=4,
            saved=saved,
            save=lambda pack, again=again: again.append(pack()),
        )
        assert same(continued, whole)


def test_theta_star_is_contiguous_whatever_training_was(pictures: Examples) -> None:
    trained = train(large(), build=seeded(Normed), examples=pictures, seed=0)
    assert trained.memory_format == "channels_last"
    fresh = seeded(Normed)(0).state_dict()
    for name, value in trained.model.state_dict().items():
        assert value.is_contiguous()
        assert value.stride() == fresh[name].stride()


def test_channels_last_trains_the_same_network(pictures: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    """To rounding: a few steps with plain gradients. Dropout draws in memory's order, so it is left out."""

    def steady() -> nn.Module:
        network = Normed()
        network.body[4] = nn.Identity()
        return network

    spec = large(optimizer=SgdOptimizer(name="sgd", lr=0.02))
    last = train(spec, build=seeded(steady), examples=pictures, seed=0)
    monkeypatch.setattr(loop, "memory_format", lambda *_args, **_named: "contiguous")
    usual = train(spec, build=seeded(steady), examples=pictures, seed=0)
    assert (last.memory_format, usual.memory_format) == ("channels_last", "contiguous")
    assert list(last.history.train_losses) == pytest.approx(list(usual.history.train_losses), rel=1e-4)
    for name, value in last.model.state_dict().items():
        torch.testing.assert_close(value, usual.model.state_dict()[name], rtol=1e-3, atol=1e-4)
