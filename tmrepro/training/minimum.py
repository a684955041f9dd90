"""Algorithm 1: relabels the data with the model's outputs, and assigns a category to the point from measured losses.

Relabelling alone does not make a point a true minimum. With hard labels, V~ is mean(-log max p), which is small only if the
model is confident. With soft labels, and with outputs under a squared error, V~ and the gradient are 0 by construction, for
any model. The category therefore depends on the training losses first (Table 1): a TM is a GM whose V~ is about zero too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
from torch import Tensor, nn

from tmrepro.networks.parameters import norm_of, theta_of
from tmrepro.numerics.inference import evaluate, gradient_norm, outputs, summarize, targets_of
from tmrepro.records import Category, History, Minimum, Relabelling
from tmrepro.spec import TrainingSpec
from tmrepro.training import Conditions, Examples, Trained, conditions
from tmrepro.training.stopping import best_epoch, warmup_epochs


@dataclass(frozen=True)
class Relabelled:
    """The labels y~ of X~ in data order, and the record of the point.

    The labels are int64 [n] (hard), float32 [n, classes] (soft), or float32 [n, ...] (outputs).
    """

    labels: np.ndarray
    minimum: Minimum


def relabelling(spec: TrainingSpec, *, labels: Literal["hard", "soft"]) -> Relabelling:
    """Return the kind of y~: that of `minimum.labels` for classes, the outputs if targets are numbers."""
    return "outputs" if spec.loss == "mse" else labels


def relabel(model: nn.Module, inputs: Tensor, *, labels: Relabelling) -> Tensor:
    """Return y~_i = f(x_i; theta*): the arg-max class (ties: the lowest), the output distribution, or the outputs."""
    logits = outputs(model, inputs)
    match labels:
        case "hard":
            return logits.argmax(1)
        case "soft":
            return logits.double().softmax(1).float()
        case "outputs":
            return logits
        case _:
            assert_never(labels)


def find_minimum(
    trained: Trained, *, name: str, spec: TrainingSpec, labels: Literal["hard", "soft"], examples: Examples
) -> Relabelled:
    """Relabel the training part at theta*, and find the category. A collapsed network is never a minimum."""
    model, epsilon = trained.model, spec.stop.epsilon
    on_training = evaluate(model, examples.inputs, targets=examples.training_targets(spec))
    held_out = evaluate(model, examples.validation_inputs, targets=examples.validation_targets(spec))
    kind = relabelling(spec, labels=labels)
    given = relabel(model, examples.inputs, labels=kind)
    targets = targets_of(given, loss=spec.loss, clip=spec.clip_probability)
    own = summarize(outputs(model, examples.inputs), targets=targets)
    epochs = trained.history.epochs
    losses = [epoch.train_loss for epoch in epochs]
    steps = -(-len(examples.inputs) // spec.batch_size)
    held = conditions(
        losses,
        epsilon=epsilon,
        patience=spec.stop.patience,
        warmup_epochs=warmup_epochs(warmup_steps=spec.warmup_steps, steps_per_epoch=steps),
    )
    category, reason = categorize(
        held, collapsed=trained.collapsed, at_minimum=on_training.loss, relabelled=own.loss, epsilon=epsilon
    )
    validation_first = next((epoch.epoch for epoch in epochs if epoch.validation_loss <= epsilon), None)
    theta = theta_of(model)

    def seconds_at(epoch: int | None) -> float | None:
        return None if epoch is None else epochs[epoch - 1].seconds

    minimum = Minimum(
        model=name,
        category=category,
        reason=reason,
        labels=kind,
        epsilon=epsilon,
        epochs=len(epochs),
        best_epoch=best_epoch(losses, averaging=spec.averaging),
        stopped=trained.stopped,
        train_loss_last=losses[-1],
        train_loss_previous=losses[-2] if len(losses) > 1 else None,
        train_loss_at_minimum=on_training.loss,
        validation_loss=held_out.loss,
        relabelled_loss=own.loss,
        train_accuracy=on_training.accuracy,
        validation_accuracy=held_out.accuracy,
        relabelled_accuracy=own.accuracy,
        gradient_norm=gradient_norm(model, examples.inputs, targets=targets),
        theta_norm=norm_of(theta),
        parameters=theta.size,
        seed=trained.seed,
        seeds_collapsed=trained.seeds_collapsed,
        lm_first_epoch=held.lm_first_epoch,
        gm_first_epoch=held.gm_first_epoch,
        validation_first_epoch=validation_first,
        lm_first_seconds=seconds_at(held.lm_first_epoch),
        gm_first_seconds=seconds_at(held.gm_first_epoch),
        validation_first_seconds=seconds_at(validation_first),
        training_seconds=epochs[-1].seconds,
    )
    return Relabelled(given.cpu().numpy(), minimum)


def diverged_minimum(
    history: History,
    *,
    name: str,
    spec: TrainingSpec,
    labels: Literal["hard", "soft"],
    images: int,
    parameters: int,
    seed: int,
    seeds_collapsed: tuple[int, ...],
    reason: str,
) -> Minimum:
    """Return the record of a diverged training: its finished epochs and their results, but no point.

    `images` is the size of the training part. `seed` is that of the diverged try, after `seeds_collapsed`.
    """
    epochs, losses = history.epochs, [epoch.train_loss for epoch in history.epochs]
    epsilon = spec.stop.epsilon
    held = conditions(
        losses,
        epsilon=epsilon,
        patience=spec.stop.patience,
        warmup_epochs=warmup_epochs(warmup_steps=spec.warmup_steps, steps_per_epoch=-(-images // spec.batch_size)),
    )
    validation_first = next((epoch.epoch for epoch in epochs if epoch.validation_loss <= epsilon), None)

    def seconds_at(epoch: int | None) -> float | None:
        return None if epoch is None else epochs[epoch - 1].seconds

    return Minimum(
        model=name,
        category="diverged",
        reason=reason,
        labels=relabelling(spec, labels=labels),
        epsilon=epsilon,
        epochs=len(epochs),
        best_epoch=best_epoch(losses, averaging=spec.averaging) if losses else 0,
        stopped="diverged",
        train_loss_last=losses[-1] if losses else None,
        train_loss_previous=losses[-2] if len(losses) > 1 else None,
        train_loss_at_minimum=None,
        validation_loss=None,
        relabelled_loss=None,
        train_accuracy=None,
        validation_accuracy=None,
        relabelled_accuracy=None,
        gradient_norm=None,
        theta_norm=None,
        parameters=parameters,
        seed=seed,
        seeds_collapsed=seeds_collapsed,
        lm_first_epoch=held.lm_first_epoch,
        gm_first_epoch=held.gm_first_epoch,
        validation_first_epoch=validation_first,
        lm_first_seconds=seconds_at(held.lm_first_epoch),
        gm_first_seconds=seconds_at(held.gm_first_epoch),
        validation_first_seconds=seconds_at(validation_first),
        training_seconds=epochs[-1].seconds if epochs else 0.0,
    )


def categorize(
    held: Conditions, *, collapsed: bool, at_minimum: float, relabelled: float, epsilon: float
) -> tuple[Category, str]:
    """Return the category of a point and the reason. `at_minimum` is T*, `relabelled` is V~, both in nats."""
    if collapsed:
        return "collapsed", "the network predicts the same for every image, with every seed that was tried"
    if held.gm_at_end and at_minimum <= epsilon:
        if relabelled <= epsilon:
            return "TM", f"T and T* are at most {epsilon:g}, and so is V~ ({relabelled:.3g})"
        return "GM", f"T and T* are at most {epsilon:g}, but V~ is {relabelled:.3g}"
    if held.lm_at_end:
        return (
            "LM",
            f"T hardly changes any more, but is not about zero twice in a row and at theta* (T* {at_minimum:.3g})",
        )
    if held.gm_at_end:
        return "none", f"T is at most {epsilon:g}, but T* is {at_minimum:.3g}: eval mode does not confirm it"
    return "none", "T still changed when training ended"
