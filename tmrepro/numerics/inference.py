"""Logits and losses of a model on images: the arithmetic that training, relabelling and surfaces share."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, assert_never

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor, nn

# Fixed, because the bits of a convolution can depend on the size of the batch.
EVALUATION_BATCH = 128

LossName = Literal["sparse_cross_entropy", "mse"]


@dataclass(frozen=True)
class Targets:
    """What outputs are compared with: classes [n] (hard labels) or distributions [n, classes] (soft labels).

    `clip` is the spec's clip_probability; it applies to hard labels only. `loss` is the caller's own loss, a function
    (outputs, values) -> losses [n, ...]; the loss of an image is their mean over the other axes. `one`: the loss is one number
    for all images, which are one batch.
    """

    values: Tensor
    clip: float | None = None
    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    one: bool = False

    @property
    def has_classes(self) -> bool:
        """Whether an output can be correct. It cannot if targets are the numbers of a spec."""
        return self.loss is not mean_squared_error

    @property
    def soft(self) -> bool:
        """Whether the labels are distributions."""
        return self.values.is_floating_point()

    @property
    def classes(self) -> Int64[Tensor, " n"]:
        """The correct class of each image (soft labels: the arg-max, ties to the lowest)."""
        return self.values.argmax(1) if self.soft else self.values

    def part(self, begin: int, end: int) -> Targets:
        """Return the targets of images `begin` up to `end`."""
        return replace(self, values=self.values[begin:end])

    def widened(self) -> Targets:
        """Return the targets for outputs in float64. Floating point numbers of a loss, such as class weights, become float64 too.

        Those in the closure of a function are unchanged.
        """
        loss = self.loss
        if isinstance(loss, nn.Module):
            loss = copy.deepcopy(loss).double()
        elif isinstance(loss, partial):
            keywords = {name: _wide(value) for name, value in loss.keywords.items()}
            loss = partial(loss.func, *map(_wide, loss.args), **keywords)
        return replace(self, loss=loss)


def mean_squared_error(outputs: Float[Tensor, "n ..."], values: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Return, per input, the mean over its outputs of the squared difference from the values (of the same shape)."""
    if outputs.shape != values.shape:
        raise ValueError(f"outputs of shape {list(outputs.shape)}, values of {list(values.shape)}")
    return (outputs.double() - values.double()).square().flatten(1).mean(1)


def targets_of(values: Tensor, *, loss: LossName, clip: float | None) -> Targets:
    """Return the targets of labels or numbers for a spec's `training.loss` and `clip_probability`."""
    match loss:
        case "sparse_cross_entropy":
            return Targets(values, clip)
        case "mse":
            return Targets(values, loss=mean_squared_error)
        case _:
            assert_never(loss)


@dataclass(frozen=True)
class Evaluation:
    """Mean loss (nats) and accuracy (share of images; None if targets are numbers) over a set."""

    loss: float
    accuracy: float | None


def image_losses(logits: Float[Tensor, "n ..."], targets: Targets) -> Float64[Tensor, " n"]:
    """Return the loss per image [n], in float64 from the logits on.

    Hard labels: cross entropy. Soft labels: the Kullback-Leibler divergence sum y (log y - log p), which is 0 if the
    outputs are the labels (the cross entropy would be the entropy of the labels). The caller's own loss gets the outputs
    unchanged.
    """
    if targets.loss is not None:
        found = targets.loss(logits.clone(), targets.values.clone()).double()  # it may change its arguments
        if found.ndim == 0 and targets.one:
            return found.expand(len(logits))
        return found.flatten(1).mean(1) if found.ndim > 1 else found
    log_p = logits.double().log_softmax(1)
    if targets.soft:
        wanted = targets.values.double()
        # A class of weight 0 adds 0, even if log p is -inf; 0 x inf would be nan.
        return (torch.xlogy(wanted, wanted) - wanted * log_p.masked_fill(wanted == 0, 0.0)).sum(1)
    return clipped(-log_p.gather(1, targets.values[:, None]).squeeze(1), targets.clip)


def count_right(logits: Tensor, targets: Targets) -> Int64[Tensor, ""]:
    """Return how many images have their largest output at the correct class; 0 if outputs or targets are not of classes."""
    if logits.ndim != 2 or targets.values.ndim != (2 if targets.soft else 1):
        return torch.zeros((), dtype=torch.int64, device=logits.device)
    return (logits.argmax(1) == targets.classes).sum()


def accuracies(
    right: Float64[np.ndarray, "*points"], targets: Targets, *, images: int
) -> Float64[np.ndarray, "*points"]:
    """Return the shares of `images` that are `right`, per point; nan if no output can be correct."""
    return right / images if targets.has_classes else np.full_like(right, np.nan)


def clipped(losses: Tensor, clip: float | None) -> Tensor:
    """Return -log(min(max(p, c), 1 - c)) for losses -log p, as Keras clips probabilities; unchanged if `clip` is None."""
    return losses if clip is None else losses.clamp(*clip_bounds(clip))


def clip_bounds(clip: float | None) -> tuple[float, float]:
    """Return the bounds of losses whose probabilities are clipped at `clip`."""
    return (-math.inf, math.inf) if clip is None else (-math.log1p(-clip), -math.log(clip))


def _wide(value: object) -> object:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def outputs(model: nn.Module, inputs: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Return the outputs for all images in eval mode, batch by batch. The mode is restored."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return torch.cat([model(batch) for batch in torch.split(inputs, EVALUATION_BATCH)])
    finally:
        model.train(was_training)


def evaluate(model: nn.Module, inputs: Shaped[Tensor, "n ..."], *, targets: Targets) -> Evaluation:
    """Return the mean loss and accuracy in eval mode. Per-image losses are summed in float64."""
    return summarize(outputs(model, inputs), targets=targets)


def summarize(logits: Float[Tensor, "n ..."], *, targets: Targets) -> Evaluation:
    """Return the mean loss and accuracy of given logits."""
    loss = image_losses(logits, targets).mean()
    if not targets.has_classes:
        return Evaluation(float(loss), None)
    accuracy = (logits.argmax(1) == targets.classes).double().mean()
    return Evaluation(float(loss), float(accuracy))


def gradient_norm(model: nn.Module, inputs: Shaped[Tensor, "n ..."], *, targets: Targets) -> float:
    """Return ||d loss / d theta||_2 of the mean loss in eval mode, over all parameters, summed in float64.

    Parameters that are not trained belong to theta too. If the outputs do not depend on one, its gradient is 0.
    """
    free = copy.deepcopy(model).eval().requires_grad_(requires_grad=True)
    parameters = list(free.parameters())
    total = [torch.zeros_like(value, dtype=torch.float64) for value in parameters]
    for begin in range(0, len(inputs), EVALUATION_BATCH):
        end = min(begin + EVALUATION_BATCH, len(inputs))
        loss = image_losses(free(inputs[begin:end]), targets.part(begin, end)).sum() / len(inputs)
        for sum_, part in zip(total, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
            if part is not None:
                sum_ += part
    return math.sqrt(math.fsum(float((part * part).sum()) for part in total))
