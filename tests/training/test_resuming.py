"""An interrupted training continues to the same bits, whatever has state: optimizer, batch norm, dropout, tied weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.training.small import blobs, build, short
from tmrepro.records import Epoch
from tmrepro.spec import AdamOptimizer, AdamwOptimizer, SgdOptimizer, StopSpec, TrainingSpec
from tmrepro.training import Examples, Trained, train
from tmrepro.training.checkpoint import read_progress, unpack
from tmrepro.training.optimizers import make_optimizer


class PulledPlugError(Exception):
    pass


def interrupted(
    spec: TrainingSpec, *, build: Callable[[int], nn.Module], examples: Examples, seed: int, saves: int
) -> bytes:
    """The checkpoint of a training that ends right after its `saves`-th checkpoint."""
    kept: list[bytes] = []

    def save(pack: Callable[[], bytes]) -> None:
        kept.append(pack())
        if len(kept) == saves:
            raise PulledPlugError

    with pytest.raises(PulledPlugError):
        train(spec, build=build, examples=examples, seed=seed, save=save)
    return kept[-1]


def timeless(trained: Trained) -> tuple[Epoch, ...]:
    return tuple(replace(epoch, seconds=0.0) for epoch in trained.history.epochs)


def assert_same(one: Trained, other: Trained) -> None:
    mine, theirs = one.model.state_dict(), other.model.state_dict()
    assert list(mine) == list(theirs)
    for name, value in mine.items():
        assert torch.equal(value, theirs[name]), name
    assert timeless(one) == timeless(other)
    found, wanted = (
        (trained.best_epoch, trained.stopped, trained.seed, trained.seeds_collapsed, trained.collapsed)
        for trained in (one, other)
    )
    assert found == wanted


@pytest.mark.parametrize(
    "optimizer",
    [
        AdamOptimizer(lr=0.02),
        AdamwOptimizer(name="adamw", lr=0.02),
        SgdOptimizer(name="sgd", lr=0.05, momentum=0.9),
        SgdOptimizer(name="sgd", lr=0.05),
    ],
    ids=["adam", "adamw", "momentum", "sgd"],
)
@pytest.mark.parametrize("kind", ["dnn", "normed", "dropping", "tied", "frozen"])
def test_a_continued_training_has_the_same_bits(
    optimizer: AdamOptimizer | AdamwOptimizer | SgdOptimizer, kind: str
) -> None:
    """After any epoch, in the warm-up too (six steps of four an epoch), on a cosine that the step number decides."""
    spec = short(optimizer=optimizer, warmup_steps=6, schedule="cosine")
    whole = train(spec, build=build(kind), examples=blobs(), seed=3)
    for saves in (1, 3, 4):
        torch.manual_seed(saves)
        saved = interrupted(spec, build=build(kind), examples=blobs(), seed=3, saves=saves)
        torch.manual_seed(100 + saves)
        ran: list[int] = []
        continued = train(
            spec,
            build=build(kind),
            examples=blobs(),
            seed=3,
            saved=saved,
            on_epoch=lambda epoch, _seed, ran=ran: ran.append(epoch.epoch),
        )
        assert ran == list(range(saves + 1, 5))
        assert_same(continued, whole)


def test_the_best_point_survives_an_interruption_after_it() -> None:
    """The loss goes up after the best epoch, so the best point is in the checkpoint beside the current one."""
    spec = short(optimizer=AdamOptimizer(lr=0.3), max_epochs=15)
    examples = blobs(24, noise=1.5)
    whole = train(spec, build=build("normed"), examples=examples, seed=2)
    assert whole.best_epoch < 14
    saved = interrupted(spec, build=build("normed"), examples=examples, seed=2, saves=14)
    assert_same(train(spec, build=build("normed"), examples=examples, seed=2, saved=saved), whole)


def test_a_training_continues_after_a_reseed() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.bias.expand(len(x), 3)

    def unlucky(seed: int) -> nn.Module:
        return Constant() if seed < 1_000_000 else build("normed")(seed)

    spec = short(reseeds=2, max_epochs=3)
    whole = train(spec, build=unlucky, examples=blobs(), seed=8)
    assert whole.seeds_collapsed == (8,)
    for saves in (2, 3, 4, 6):  # before the reseed, at its very edge, after it, at the end
        saved = interrupted(spec, build=unlucky, examples=blobs(), seed=8, saves=saves)
        assert_same(train(spec, build=unlucky, examples=blobs(), seed=8, saved=saved), whole)


def test_a_stop_that_was_reached_is_reached_again() -> None:
    """Interrupted between the last checkpoint and the end: no further epoch is trained."""
    spec = short(stop=StopSpec(at="gm", epsilon=0.1), max_epochs=40)
    examples = blobs(30, noise=0.3)
    whole = train(spec, build=build("dnn"), examples=examples, seed=0)
    assert whole.stopped == "gm"
    saved = interrupted(spec, build=build("dnn"), examples=examples, seed=0, saves=len(whole.history.epochs))
    assert_same(train(spec, build=build("dnn"), examples=examples, seed=0, saved=saved), whole)


def test_seconds_go_on_counting() -> None:
    saved = interrupted(short(), build=build("dnn"), examples=blobs(), seed=0, saves=2)
    before = read_progress(saved).history
    after = train(short(), build=build("dnn"), examples=blobs(), seed=0, saved=saved).history.epochs
    assert after[:2] == before
    assert after[2].seconds > before[1].seconds


def test_a_checkpoint_of_a_training_is_the_same_bytes_each_time() -> None:
    kept: list[bytes] = []
    train(
        short(max_epochs=1),
        build=build("normed"),
        examples=blobs(),
        seed=0,
        save=lambda pack: kept.extend([pack(), pack()]),
    )
    assert kept[0] == kept[1]


def test_what_is_no_checkpoint_of_the_model_is_refused() -> None:
    saved = interrupted(short(), build=build("dnn"), examples=blobs(), seed=0, saves=1)
    for wrong in (
        b"",
        b"\0" * 8,
        saved[:60],
        saved[:-1],
        b"\x02\0\0\0\0\0\0\0[]",
        saved.replace(b"checkpoint 1", b"checkpoint 9"),
    ):
        model = build("dnn")(0)
        with pytest.raises(ValueError, match=r"checkpoint|another version"):
            unpack(wrong, model=model, optimizer=make_optimizer(model, short()))
    other = build("cnn")(0)
    with pytest.raises(ValueError, match="not a checkpoint of this model"):
        unpack(saved, model=other, optimizer=make_optimizer(other, short()))
