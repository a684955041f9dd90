"""Algorithm 1 by hand on softmax regression, where relabelling, losses and gradients have closed forms; and categories."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from tmrepro.records import Epoch, History
from tmrepro.spec import StopSpec, TrainingSpec
from tmrepro.training import Conditions, Examples, Trained
from tmrepro.training.minimum import Relabelled, categorize, find_minimum, relabel

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = 4
Labels = Literal["hard", "soft"]


def linear(scale: float = 1.0) -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, CLASSES))
    draws = np.random.default_rng(4).normal(size=(CLASSES, 13)).astype(np.float32)
    with torch.no_grad():
        model[1].weight.copy_(torch.from_numpy(scale * draws[:, :12]))
        model[1].bias.copy_(torch.from_numpy(scale * draws[:, 12]))
    return model.eval()


def examples(n: int = 20, m: int = 9, *, own: nn.Module | None = None) -> Examples:
    """Random images; labels are random, or those of the model `own`."""
    generator = torch.Generator().manual_seed(6)
    inputs = torch.randn(n + m, 3, 2, 2, generator=generator)
    labels = torch.randint(CLASSES, (n + m,), generator=generator)
    if own is not None:
        with torch.no_grad():
            labels = own(inputs).argmax(1)
    return Examples(inputs[:n], labels[:n], inputs[n:], labels[n:], CLASSES)


def epochs(train_losses: list[float], validation_losses: list[float] | None = None) -> History:
    """Epoch i ends 10 i seconds after the start."""
    held_out = validation_losses or [1.0] * len(train_losses)
    return History(
        tuple(
            Epoch(i, train, 0.5, validation, 0.5, 0.01, 10.0 * i)
            for i, (train, validation) in enumerate(zip(train_losses, held_out, strict=True), start=1)
        )
    )


def trained(model: nn.Module, history: History, *, collapsed: bool = False) -> Trained:
    return Trained(
        model=model,
        history=history,
        best_epoch=1,
        stopped="max_epochs",
        seed=1_000_003,
        seeds_collapsed=(3,),
        collapsed=collapsed,
    )


def found(
    model: nn.Module,
    data: Examples,
    *,
    labels: Labels = "hard",
    history: History | None = None,
    collapsed: bool = False,
    clip: float | None = None,
    warmup_steps: int = 0,
) -> Relabelled:
    spec = TrainingSpec(
        stop=StopSpec(epsilon=0.05, patience=2),
        batch_size=8,
        warmup_steps=warmup_steps,
        clip_probability=clip,
    )
    outcome = trained(model, history or epochs([0.9, 0.8]), collapsed=collapsed)
    return find_minimum(outcome, name="mine", spec=spec, labels=labels, examples=data)


def probabilities(model: nn.Module, inputs: torch.Tensor) -> np.ndarray:
    weight, bias = (value.detach().double().numpy() for value in model.parameters())
    logits = inputs.flatten(1).double().numpy() @ weight.T + bias
    wide = np.exp(logits - logits.max(1, keepdims=True))
    return wide / wide.sum(1, keepdims=True)


def test_hard_labels_are_the_models_own_classes_in_data_order() -> None:
    model, data = linear(), examples()
    labels = found(model, data).labels
    assert labels.dtype == np.int64
    assert labels.tolist() == probabilities(model, data.inputs).argmax(1).tolist()
    assert labels.tolist() != data.labels.tolist()


def test_soft_labels_are_the_models_own_distributions() -> None:
    model, data = linear(), examples()
    labels = found(model, data, labels="soft").labels
    assert (labels.dtype, labels.shape) == (np.float32, (20, CLASSES))
    np.testing.assert_allclose(labels, probabilities(model, data.inputs), rtol=1e-5)
    np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-6)


def test_ties_go_to_the_lowest_class() -> None:
    """Of ten logits, those of some classes are equally the highest; on more images than a batch has."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 10))
    with torch.no_grad():
        model[1].weight.zero_()
        for tied in ([3, 7], [0, 9], [8, 9], list(range(10))):
            model[1].bias.fill_(-1)
            model[1].bias[tied] = 2
            assert (relabel(model, torch.zeros(300, 3, 1, 1), labels="hard") == min(tied)).all()


def test_hard_labels_give_neither_a_zero_loss_nor_a_zero_gradient() -> None:
    """V~ is mean(-log max p), and the gradient that of a softmax regression on its own classes."""
    model, data = linear(), examples()
    p = probabilities(model, data.inputs)
    x = data.inputs.flatten(1).double().numpy()
    error = (p - np.eye(CLASSES)[p.argmax(1)]) / len(p)
    minimum = found(model, data).minimum
    assert minimum.relabelled_loss == pytest.approx(-np.log(p.max(1)).mean(), rel=1e-6)
    assert minimum.gradient_norm == pytest.approx(
        math.sqrt(((error.T @ x) ** 2).sum() + (error.sum(0) ** 2).sum()), rel=1e-5
    )
    assert minimum.relabelled_accuracy == 1
    assert minimum.relabelled_loss > 0.05
    assert minimum.gradient_norm > 0.05


def test_soft_labels_give_both_to_rounding_whatever_the_model() -> None:
    for scale in (0.1, 1.0, 30.0):
        minimum = found(linear(scale), examples(), labels="soft").minimum
        assert minimum.relabelled_loss == pytest.approx(0, abs=1e-6)
        assert minimum.gradient_norm == pytest.approx(0, abs=1e-5)
        assert minimum.relabelled_accuracy == 1
        assert minimum.category == "none"


@pytest.mark.parametrize("clip", [None, 0.3])
def test_losses_are_measured_at_theta_star_with_the_given_labels(clip: float | None) -> None:
    model, data = linear(), examples()
    minimum = found(model, data, clip=clip).minimum
    for inputs, labels, loss, accuracy in (
        (data.inputs, data.labels, minimum.train_loss_at_minimum, minimum.train_accuracy),
        (data.validation_inputs, data.validation_labels, minimum.validation_loss, minimum.validation_accuracy),
    ):
        p = probabilities(model, inputs)
        wanted = p[np.arange(len(p)), labels.numpy()]
        clipped = wanted if clip is None else np.clip(wanted, clip, 1 - clip)
        assert loss == pytest.approx(-np.log(clipped).mean(), rel=1e-6)
        assert accuracy == pytest.approx((p.argmax(1) == labels.numpy()).mean())
    largest = probabilities(model, data.inputs).max(1)
    clipped = largest if clip is None else np.clip(largest, clip, 1 - clip)
    assert minimum.relabelled_loss == pytest.approx(-np.log(clipped).mean(), rel=1e-6)


def test_relabelling_hard_never_makes_the_loss_higher() -> None:
    for scale in (0.3, 1.0, 3.0):
        minimum = found(linear(scale), examples()).minimum
        assert minimum.relabelled_loss <= minimum.train_loss_at_minimum


def test_facts_of_the_training_are_handed_on() -> None:
    model = linear()
    minimum = found(model, examples(), history=epochs([0.9, 0.5, 0.7])).minimum
    theta = np.concatenate([value.detach().double().numpy().ravel() for value in model.parameters()])
    assert minimum.model == "mine"
    assert (minimum.epochs, minimum.best_epoch, minimum.training_seconds) == (3, 2, 30.0)
    assert (minimum.train_loss_last, minimum.train_loss_previous) == (0.7, 0.5)
    assert (minimum.seed, minimum.seeds_collapsed, minimum.stopped) == (1_000_003, (3,), "max_epochs")
    assert (minimum.parameters, minimum.epsilon, minimum.labels) == (52, 0.05, "hard")
    assert minimum.theta_norm == pytest.approx(np.linalg.norm(theta), rel=1e-12)


def test_one_epoch_has_no_previous_loss() -> None:
    minimum = found(linear(), examples(), history=epochs([0.01])).minimum
    assert (minimum.train_loss_last, minimum.train_loss_previous, minimum.category) == (0.01, None, "none")


def test_first_epochs_and_seconds_are_those_at_which_conditions_first_held() -> None:
    """20 images in batches of 8 are three steps an epoch; three warm-up steps make one epoch of warm-up.

    From epoch 2: 0.9, 0.88, 0.87 is an LM (patience 2) at epoch 4; 0.03, 0.04 a GM at epoch 7; V is 0.05 at epoch 4.
    """
    history = epochs([0.9, 0.9, 0.88, 0.87, 0.87, 0.03, 0.04, 0.6], [1.0, 0.3, 0.06, 0.05, 0.2, 0.01, 0.2, 0.2])
    minimum = found(linear(), examples(), history=history, warmup_steps=3).minimum
    assert (minimum.lm_first_epoch, minimum.lm_first_seconds) == (4, 40.0)
    assert (minimum.gm_first_epoch, minimum.gm_first_seconds) == (7, 70.0)
    assert (minimum.validation_first_epoch, minimum.validation_first_seconds) == (4, 40.0)


def test_what_never_held_is_none() -> None:
    minimum = found(linear(), examples(), history=epochs([0.9, 0.5, 0.1])).minimum
    assert minimum.lm_first_epoch is minimum.gm_first_epoch is minimum.validation_first_epoch is None
    assert minimum.lm_first_seconds is minimum.gm_first_seconds is minimum.validation_first_seconds is None


STILL_FALLING = [0.9, 0.7, 0.5]
SETTLED = [0.9, 0.9, 0.9]
ZERO = [0.9, 0.05, 0.05]
ZERO_ONCE = [0.9, 0.06, 0.01]


@pytest.mark.parametrize(
    ("losses", "sure", "category"),
    [
        (STILL_FALLING, True, "none"),
        (SETTLED, True, "LM"),
        (ZERO, True, "TM"),
        (ZERO_ONCE, True, "none"),
        (ZERO, False, "none"),  # eval mode at theta* does not confirm what training met
        ([0.05, 0.05, 0.05], False, "LM"),  # nor here, but the loss hardly changes
        ([0.05, 0.05, 0.06], True, "LM"),  # no GM at the end; two epochs before it was
        ([0.05, 0.01, 0.3], True, "LM"),
        ([0.5, 0.01, 0.3], True, "none"),
    ],
)
@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_the_category_rests_on_training_first(labels: Labels, losses: list[float], sure: bool, category: str) -> None:
    """A sure model has T*, V~ about zero on its own classes; an unsure one has the same classes but T* far above."""
    model = linear(60.0 if sure else 1.0)
    data = examples(own=model)
    minimum = found(model, data, labels=labels, history=epochs(losses)).minimum
    assert (minimum.train_loss_at_minimum <= 0.05) == sure
    assert minimum.train_accuracy == 1
    assert minimum.category == category
    assert minimum.reason


def test_a_collapsed_network_is_collapsed_whatever_its_losses() -> None:
    model = linear(60.0)
    minimum = found(model, examples(own=model), history=epochs(ZERO), collapsed=True).minimum
    assert minimum.category == "collapsed"


@pytest.mark.parametrize(
    ("gm", "lm", "at_minimum", "relabelled", "category"),
    [
        (True, False, 0.05, 0.05, "TM"),
        (True, True, 0.05, 0.06, "GM"),
        (True, True, 0.06, 0.01, "LM"),
        (True, False, 0.06, 0.01, "none"),
        (False, True, 0.01, 0.01, "LM"),
        (False, False, 0.01, 0.01, "none"),
        (True, True, math.nan, math.nan, "LM"),
    ],
)
def test_categories_are_table_1(gm: bool, lm: bool, at_minimum: float, relabelled: float, category: str) -> None:
    held = Conditions(lm_first_epoch=None, gm_first_epoch=None, lm_at_end=lm, gm_at_end=gm)
    assert categorize(held, collapsed=False, at_minimum=at_minimum, relabelled=relabelled, epsilon=0.05)[0] == category
    assert categorize(held, collapsed=True, at_minimum=0.0, relabelled=0.0, epsilon=0.05)[0] == "collapsed"
