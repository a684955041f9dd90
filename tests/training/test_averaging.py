"""theta* as the mean of the weights along the end of training. Oracle: the states that training passed through, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.training.small import blobs, build, short
from tmrepro.errors import SpecError
from tmrepro.spec import AdamOptimizer, AveragingSpec, StopSpec, TrainingSpec, TrajectorySpec, parse_spec
from tmrepro.training import Examples, train
from tmrepro.training.loop import reestimate_batch_norm

FROM_THIRD = AveragingSpec(start=3)


def states_of(spec: TrainingSpec, *, build: Callable[[int], nn.Module], examples: Examples) -> dict[int, dict]:
    """The state after each epoch of a training that averages nothing."""
    kept: dict[int, dict] = {}

    def keep(epoch: int, _seed: int, state) -> None:
        kept.setdefault(epoch, {name: value.clone() for name, value in state.items()})

    plain = spec.model_copy(update={"averaging": None, "trajectory": TrajectorySpec(every=1)})
    train(plain, build=build, examples=examples, seed=3, on_state=keep)
    return kept


@pytest.mark.parametrize("kind", ["dnn", "normed", "tied"])
def test_theta_star_is_the_mean_of_the_weights_from_the_start_on(kind: str) -> None:
    spec = short(averaging=FROM_THIRD, max_epochs=7, optimizer=AdamOptimizer(lr=0.1))
    examples = blobs(24, noise=1.5)
    trained = train(spec, build=build(kind), examples=examples, seed=3)
    assert trained.best_epoch == 7
    states = states_of(spec, build=build(kind), examples=examples)
    expected = build(kind)(3)
    expected.load_state_dict(
        {
            name: torch.stack([states[epoch][name].double() for epoch in range(3, 8)]).mean(0).to(value.dtype)
            for name, value in states[7].items()
        }
    )
    reestimate_batch_norm(expected, examples.inputs, batch_size=spec.batch_size)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(trained.model.state_dict()[name], value)


def test_the_history_is_that_of_a_training_that_averages_nothing() -> None:
    spec, examples = short(averaging=FROM_THIRD), blobs()
    both = [
        train(which, build=build("dnn"), examples=examples, seed=3).history.train_losses
        for which in (spec, spec.model_copy(update={"averaging": None}))
    ]
    assert both[0].tolist() == both[1].tolist()


def test_before_the_start_theta_star_is_the_best_point() -> None:
    """Training stops at an LM at epoch 5, before the mean begins."""
    at_lm = StopSpec(at="lm", epsilon=1e6, patience=2)
    spec, examples = short(averaging=AveragingSpec(start=9), stop=at_lm, max_epochs=9, warmup_steps=0), blobs()
    plain = train(spec.model_copy(update={"averaging": None}), build=build("dnn"), examples=examples, seed=3)
    assert len(plain.history.epochs) < 9
    averaged = train(spec, build=build("dnn"), examples=examples, seed=3)
    assert averaged.best_epoch == plain.best_epoch
    for one, other in zip(averaged.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("saves", [2, 3, 5])
def test_a_continued_training_has_the_same_mean(saves: int) -> None:
    """Interrupted before the mean begins, at its first epoch, and within it."""
    spec = short(averaging=FROM_THIRD, max_epochs=7)
    whole = train(spec, build=build("normed"), examples=blobs(), seed=3)
    packed: list[bytes] = []
    train(
        spec.model_copy(update={"max_epochs": saves}),
        build=build("normed"),
        examples=blobs(),
        seed=3,
        save=lambda pack: packed.append(pack()),
    )
    continued = train(spec, build=build("normed"), examples=blobs(), seed=3, saved=packed[-1])
    assert continued.best_epoch == whole.best_epoch == 7
    mine, theirs = continued.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())


SPEC = """version: 1
name: averaged
data: {name: digits}
models:
  - {name: dnn, kind: dnn, training: {max_epochs: 5}}
  - {name: cnn, kind: cnn}
training: {max_epochs: 9, averaging: {start: 8}}
"""


def test_a_start_after_the_last_epoch_is_refused_for_each_model() -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(SPEC, source="averaged.yaml")
    (problem,) = str(caught.value).splitlines()
    assert "models[0].training" in problem
    assert "at most max_epochs, 5 (got 8)" in problem
    assert parse_spec(SPEC.replace("max_epochs: 5", "max_epochs: 8"), source="averaged.yaml").training.averaging
