"""The loop: what T_i and V_i are, what a step does, and when it ends. Oracles: numpy, and torch's plain optimizers."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.training.small import blobs, build, short
from tmrepro.errors import DivergedError
from tmrepro.numerics.inference import Targets, evaluate
from tmrepro.records import Epoch
from tmrepro.spec import AdamOptimizer, AdamwOptimizer, SgdOptimizer, StopSpec
from tmrepro.training import Examples, train
from tmrepro.training.draws import epoch_order, layers_drawing

STANDING_STILL = SgdOptimizer(name="sgd", lr=1e-30)


def softmax(logits: np.ndarray) -> np.ndarray:
    wide = np.exp(logits - logits.max(1, keepdims=True))
    return wide / wide.sum(1, keepdims=True)


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in mine.items())


class ModeDependent(nn.Module):
    """Right in train mode from the start; in eval mode only as sure as its one parameter is large, or as `fixed` says.

    The class of an image is the value of its pixels.
    """

    def __init__(self, fixed: float | None = None) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))
        self.fixed = fixed

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        right = functional.one_hot(x.mean((1, 2, 3)).round().long(), 3).float()
        if self.training:
            return right * (6 + self.scale)
        return right * (self.scale if self.fixed is None else self.fixed)


class Constant(nn.Module):
    """Logits that depend on no image: what a collapsed network computes."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([0.5, 0.0, -0.5]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bias.expand(len(x), 3)


def flat_images(n: int = 12) -> Examples:
    labels = torch.arange(n) % 3
    inputs = labels[:, None, None, None].float().expand(n, 3, 2, 2).contiguous()
    return Examples(inputs, labels, inputs[:5], labels[:5], 3)


def test_training_loss_is_the_mean_over_all_images_the_last_partial_batch_included() -> None:
    """Where nothing moves, T_i is the loss at the start. Batches of 8, 8, 8, 6: a mean of batch means would differ."""
    examples = blobs(30, 11)
    trained = train(short(optimizer=STANDING_STILL, max_epochs=2), build=build("dnn"), examples=examples, seed=3)
    model = build("dnn")(3)
    start = evaluate(model, examples.inputs, targets=Targets(examples.labels))
    held_out = evaluate(model, examples.validation_inputs, targets=Targets(examples.validation_labels))
    for epoch in trained.history.epochs:
        assert epoch.train_loss == pytest.approx(start.loss, rel=1e-6)  # float32 losses per image
        assert epoch.train_accuracy == pytest.approx(start.accuracy)
        assert epoch.validation_loss == pytest.approx(held_out.loss, rel=1e-12)
        assert epoch.validation_accuracy == held_out.accuracy


def test_training_loss_is_taken_before_each_update_and_validation_loss_after_the_epoch() -> None:
    examples = blobs(8, 5)
    spec = short(optimizer=SgdOptimizer(name="sgd", lr=0.1), max_epochs=1)
    trained = train(spec, build=build("dnn"), examples=examples, seed=0)
    (epoch,) = trained.history.epochs
    before = evaluate(build("dnn")(0), examples.inputs, targets=Targets(examples.labels)).loss
    after = evaluate(trained.model, examples.inputs, targets=Targets(examples.labels)).loss
    held_out = evaluate(trained.model, examples.validation_inputs, targets=Targets(examples.validation_labels)).loss
    assert epoch.train_loss == pytest.approx(before, rel=1e-6)
    assert after < before - 1e-3
    assert epoch.validation_loss == held_out


@pytest.mark.parametrize(
    "optimizer",
    [
        AdamOptimizer(lr=0.02, betas=(0.8, 0.95), weight_decay=0.01),
        AdamwOptimizer(name="adamw", lr=0.02, weight_decay=0.1),
        SgdOptimizer(name="sgd", lr=0.05, momentum=0.9, weight_decay=0.01),
        SgdOptimizer(name="sgd", lr=0.05),
    ],
    ids=["adam", "adamw", "momentum", "sgd"],
)
def test_steps_are_those_of_torchs_plain_optimizers(optimizer: AdamOptimizer | AdamwOptimizer | SgdOptimizer) -> None:
    """The loop written again, with unfused optimizers; warm-up over the first five of twelve steps."""
    examples = blobs(30)
    spec = short(optimizer=optimizer, warmup_steps=5, max_epochs=3)
    trained = train(spec, build=build("dnn"), examples=examples, seed=6)
    model = build("dnn")(6)
    match optimizer:
        case SgdOptimizer():
            plain: torch.optim.Optimizer = torch.optim.SGD(
                model.parameters(), momentum=optimizer.momentum, weight_decay=optimizer.weight_decay, foreach=False
            )
        case _:
            kind = torch.optim.AdamW if isinstance(optimizer, AdamwOptimizer) else torch.optim.Adam
            plain = kind(model.parameters(), betas=optimizer.betas, weight_decay=optimizer.weight_decay, foreach=False)
    step, losses, states, rates = 0, [], [], []
    for epoch in (1, 2, 3):
        total = 0.0
        for picked in epoch_order(30, seed=6, epoch=epoch).split(8):
            rates.append(optimizer.lr * min((step + 1) / 5, 1))
            plain.param_groups[0]["lr"] = rates[-1]
            loss = functional.cross_entropy(model(examples.inputs[picked]), examples.labels[picked])
            plain.zero_grad()
            torch.autograd.backward(loss)
            plain.step()
            total += loss.item() * len(picked)
            step += 1
        losses.append(total / 30)
        states.append(state_of(model))
    assert trained.history.train_losses == pytest.approx(losses, rel=1e-5)
    assert [epoch.lr for epoch in trained.history.epochs] == pytest.approx([rates[3], rates[7], rates[11]])
    best = int(np.argmin(losses))
    assert trained.best_epoch == best + 1
    for name, value in trained.model.state_dict().items():
        torch.testing.assert_close(value, states[best][name], rtol=1e-4, atol=1e-6)  # twelve float32 steps


def test_clipping_has_keras_gradient() -> None:
    """Softmax regression, one step: images whose probability is clipped, on either side, do not pull."""
    c, examples = 0.3, blobs(20, noise=1.0)
    spec = short(optimizer=SgdOptimizer(name="sgd", lr=0.5), clip_probability=c, batch_size=20, max_epochs=1)

    def linear(seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
        with torch.no_grad():
            model[1].weight.mul_(3)  # so sure that some probabilities are above 1 - c
        return model

    trained = train(spec, build=linear, examples=examples, seed=1)
    weight, bias = (value.detach().double().numpy() for value in linear(1).parameters())
    x, labels = examples.inputs.flatten(1).double().numpy(), examples.labels.numpy()
    p = softmax(x @ weight.T + bias)
    wanted = p[np.arange(20), labels]
    inside = (wanted >= c) & (wanted <= 1 - c)
    assert (wanted < c).any()
    assert inside.any()
    assert (wanted > 1 - c).any()
    error = inside[:, None] * (p - np.eye(3)[labels]) / 20
    found = [value.detach().double().numpy() for value in trained.model.parameters()]
    np.testing.assert_allclose(found[0], weight - 0.5 * error.T @ x, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[1], bias - 0.5 * error.sum(0), rtol=1e-4, atol=1e-6)
    clipped = -np.log(np.clip(wanted, c, 1 - c)).mean()
    assert trained.history.epochs[0].train_loss == pytest.approx(clipped, rel=1e-6)


def test_theta_star_is_the_point_after_the_epoch_of_lowest_training_loss() -> None:
    """A rate that is far too high makes the loss go up and down; each epoch's end is kept by a run that ends there."""
    examples = blobs(24, noise=1.5)
    spec = short(optimizer=AdamOptimizer(lr=0.3), max_epochs=9)
    trained = train(spec, build=build("dnn"), examples=examples, seed=2)
    losses = trained.history.train_losses
    best = int(np.argmin(losses)) + 1
    assert trained.best_epoch == best < 9
    shorter = train(spec.model_copy(update={"max_epochs": best}), build=build("dnn"), examples=examples, seed=2)
    assert shorter.best_epoch == best
    assert same_bits(trained.model, shorter.model)


def test_the_first_of_equally_low_epochs_is_the_best() -> None:
    """Two images, one a batch: the sum of two losses does not depend on their order, so all epochs are equal."""
    spec = short(optimizer=STANDING_STILL, batch_size=1, max_epochs=3)
    trained = train(spec, build=build("dnn"), examples=blobs(2), seed=0)
    assert len(set(trained.history.train_losses)) == 1
    assert trained.best_epoch == 1


@pytest.mark.parametrize("at", ["lm", "gm", "never"])
def test_training_stops_at_the_first_epoch_where_its_condition_holds(at: str) -> None:
    examples = blobs(30, noise=0.3)
    stop = StopSpec(at=at, epsilon=0.1, patience=2)
    trained = train(short(stop=stop, max_epochs=40), build=build("dnn"), examples=examples, seed=0)
    losses = list(trained.history.train_losses)
    gms = [i for i in range(2, len(losses) + 1) if max(losses[i - 2 : i]) <= 0.1]
    lms = [i for i in range(3, len(losses) + 1) if min(losses[: i - 2]) - min(losses[i - 2 : i]) <= 0.1]
    match at:
        case "never":
            assert (trained.stopped, len(losses)) == ("max_epochs", 40)
            assert gms[0] < 40
        case "gm":
            assert (trained.stopped, len(losses)) == ("gm", gms[0])
        case _:
            assert (trained.stopped, len(losses)) == ("lm", min([*gms, *lms]))


def test_a_gm_that_eval_mode_does_not_confirm_is_none_and_training_goes_on() -> None:
    """T is about zero from epoch 1; the loss in eval mode falls below epsilon only when the scale has grown."""
    spec = short(optimizer=AdamOptimizer(lr=0.5), batch_size=12, stop=StopSpec(at="gm"), max_epochs=40)
    examples, counted = flat_images(), Targets(flat_images().labels)
    trained = train(spec, build=lambda _seed: ModeDependent(), examples=examples, seed=0)
    epochs = len(trained.history.epochs)
    assert (trained.history.train_losses <= 0.05).all()
    assert trained.stopped == "gm"
    assert 4 < epochs < 40
    assert evaluate(trained.model, examples.inputs, targets=counted).loss <= 0.05
    earlier = spec.model_copy(update={"stop": StopSpec(at="never"), "max_epochs": epochs - 1})
    before = train(earlier, build=lambda _seed: ModeDependent(), examples=examples, seed=0)
    assert evaluate(before.model, examples.inputs, targets=counted).loss > 0.05


def test_a_gm_that_is_never_confirmed_ends_at_max_epochs() -> None:
    spec = short(optimizer=AdamOptimizer(lr=0.1), batch_size=12, stop=StopSpec(at="gm"), max_epochs=7)
    trained = train(spec, build=lambda _seed: ModeDependent(fixed=1.0), examples=flat_images(), seed=0)
    assert (trained.history.train_losses <= 0.05).all()
    assert (trained.stopped, len(trained.history.epochs), trained.collapsed) == ("max_epochs", 7, False)


def test_an_unconfirmed_gm_does_not_stop_a_training_that_ends_at_an_lm() -> None:
    """Its own rule does, as soon as there is one epoch before the last `patience`."""
    stop = StopSpec(at="lm", patience=5)
    spec = short(optimizer=AdamOptimizer(lr=0.1), batch_size=12, stop=stop, max_epochs=20)
    unsure = train(spec, build=lambda _seed: ModeDependent(fixed=1.0), examples=flat_images(), seed=0)
    assert (unsure.stopped, len(unsure.history.epochs)) == ("lm", 6)
    sure = train(spec, build=lambda _seed: ModeDependent(fixed=9.0), examples=flat_images(), seed=0)
    assert (sure.stopped, len(sure.history.epochs)) == ("lm", 2)


@pytest.mark.parametrize("lr", [1e30, 3e38], ids=["the loss", "the parameters alone"])
def test_divergence_is_an_error_that_names_epoch_and_remedy(lr: float) -> None:
    """One epoch of one step has a finite T, taken before the update: the parameters after it must be looked at too."""
    one_step = lr > 1e35
    spec = short(
        optimizer=SgdOptimizer(name="sgd", lr=lr, weight_decay=1e3),
        batch_size=30 if one_step else 8,
        max_epochs=1 if one_step else 5,
    )
    with pytest.raises(DivergedError, match=r"epoch 1 \(seed 4\).*lower optimizer.lr"):
        train(spec, build=build("dnn"), examples=blobs(), seed=4)


def test_a_constant_predictor_has_collapsed_and_other_seeds_are_tried() -> None:
    """Two collapses, then a network that learns: the seeds are 7, 1000007 and 2000007."""
    asked: list[int] = []

    def unlucky(seed: int) -> nn.Module:
        asked.append(seed)
        return Constant() if seed < 2_000_000 else build("dnn")(seed)

    told: list[tuple[int, int]] = []

    def note(epoch: Epoch, seed: int) -> None:
        told.append((seed, epoch.epoch))

    spec = short(reseeds=3, max_epochs=3, optimizer=AdamOptimizer(lr=0.05))
    trained = train(spec, build=unlucky, examples=blobs(), seed=7, on_epoch=note)
    assert asked == [7, 1_000_007, 2_000_007]
    assert (trained.seed, trained.seeds_collapsed, trained.collapsed) == (2_000_007, (7, 1_000_007), False)
    assert told == [(seed, epoch) for seed in asked for epoch in (1, 2, 3)]
    alone = train(spec, build=build("dnn"), examples=blobs(), seed=2_000_007)
    assert same_bits(trained.model, alone.model)
    assert [epoch.train_loss for epoch in trained.history.epochs] == list(alone.history.train_losses)


def test_after_all_reseeds_the_network_is_collapsed() -> None:
    trained = train(short(reseeds=1), build=lambda _seed: Constant(), examples=blobs(), seed=5)
    assert (trained.collapsed, trained.seed, trained.seeds_collapsed) == (True, 1_000_005, (5, 1_000_005))


def test_a_loss_within_one_percent_of_chance_is_a_collapse_whatever_the_arg_max() -> None:
    """Logits of scale s have the loss log(1 + 2 exp(-s)); chance is ln 3, and 1% of it is reached near s = 0.0165."""
    spec = short(optimizer=STANDING_STILL, max_epochs=1)
    found = {}
    for scale in (0.005, 0.015, 0.018, 0.5):
        loss = math.log1p(2 * math.exp(-scale))
        trained = train(spec, build=lambda _seed, s=scale: ModeDependent(fixed=s), examples=flat_images(), seed=0)
        found[scale] = trained.collapsed
        assert trained.collapsed == (abs(loss - math.log(3)) <= 0.01 * math.log(3))
    assert found == {0.005: True, 0.015: True, 0.018: False, 0.5: False}


@pytest.mark.parametrize("kind", ["dnn", "cnn", "normed", "dropping"])
def test_watching_and_saving_changes_no_bit(kind: str) -> None:
    packed: list[bytes] = []
    torch.manual_seed(1)
    alone = train(short(), build=build(kind), examples=blobs(), seed=0)
    torch.manual_seed(2)
    watched = train(
        short(),
        build=build(kind),
        examples=blobs(),
        seed=0,
        on_epoch=lambda _epoch, _seed: torch.manual_seed(3) and None,
        save=lambda pack: packed.append(pack()),
    )
    assert len(packed) == 4
    assert same_bits(alone.model, watched.model)
    assert [replace(epoch, seconds=0.0) for epoch in alone.history.epochs] == [
        replace(epoch, seconds=0.0) for epoch in watched.history.epochs
    ]


def test_dropout_draws_from_seed_and_epoch_and_leaves_the_global_state() -> None:
    torch.manual_seed(77)
    before = torch.get_rng_state()
    spec = short(optimizer=STANDING_STILL, max_epochs=3)
    trained = train(spec, build=build("dropping"), examples=blobs(), seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    losses = trained.history.train_losses
    assert np.ptp(losses) > 1e-4  # the weights stand still, so what changes is what dropout leaves out


def test_layers_draw_otherwise_in_every_epoch_and_with_every_seed() -> None:
    def drawn(seed: int, epoch: int) -> tuple[float, ...]:
        with layers_drawing(seed, epoch, device=torch.device("cpu")):
            return tuple(torch.rand(3).tolist())

    places = [(seed, epoch) for seed in (0, 1, 1_000_000, 2**53) for epoch in (1, 2, 3)]
    assert len({drawn(*place) for place in places}) == len(places)
    assert drawn(1, 2) == drawn(1, 2)


def test_a_network_that_was_built_in_eval_mode_is_trained_in_train_mode() -> None:
    usual = train(short(), build=build("normed"), examples=blobs(), seed=0)
    other = train(short(), build=lambda seed: build("normed")(seed).eval(), examples=blobs(), seed=0)
    assert same_bits(usual.model, other.model)


def test_frozen_parameters_stay_and_the_given_data_are_left_alone() -> None:
    examples = blobs()
    inputs, labels = examples.inputs.clone(), examples.labels.clone()
    trained = train(short(), build=build("frozen"), examples=examples, seed=0)
    start = build("frozen")(0)
    assert torch.equal(trained.model[1].weight, start[1].weight)
    assert not torch.equal(trained.model[3].weight, start[3].weight)
    assert torch.equal(examples.inputs, inputs)
    assert torch.equal(examples.labels, labels)


def test_seconds_grow_and_epochs_count_from_one() -> None:
    epochs = train(short(), build=build("dnn"), examples=blobs(), seed=0).history.epochs
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 4]
    assert all(0 < before.seconds < after.seconds for before, after in pairwise(epochs))
