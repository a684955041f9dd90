"""The `training` section: optimizer, schedule, batches, and when to stop."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Strict, Tag

from tmrepro.spec.fields import Decay, NonNegativeNumber, PositiveNumber, Section, Seed, chosen, stated

_EPS_REASON = "torch's default; Keras's is 1e-7"
_BETAS_REASON = "the defaults of torch, of Keras and of Adam's paper"


class AdamOptimizer(Section):
    """Adam (Kingma and Ba 2015), the paper's."""

    name: Annotated[Literal["adam"], stated("3.1")] = "adam"
    """Adam."""
    lr: Annotated[PositiveNumber, stated("3.1")] = 0.01
    """Learning rate."""
    betas: Annotated[tuple[Decay, Decay], Strict(strict=False), chosen(_BETAS_REASON)] = (0.9, 0.999)
    """Decay rates of the two moments."""
    eps: Annotated[PositiveNumber, chosen(_EPS_REASON)] = 1e-8
    """Added to the root of the second moment."""
    weight_decay: Annotated[NonNegativeNumber, chosen("the paper names none, so there is none")] = 0.0
    """L2 penalty, added to the gradient."""


class AdamwOptimizer(Section):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    name: Annotated[Literal["adamw"], chosen("for comparison with the paper's Adam")]
    """AdamW."""
    lr: Annotated[PositiveNumber, stated("3.1")] = 0.01
    """Learning rate."""
    betas: Annotated[tuple[Decay, Decay], Strict(strict=False), chosen(_BETAS_REASON)] = (0.9, 0.999)
    """Decay rates of the two moments."""
    eps: Annotated[PositiveNumber, chosen(_EPS_REASON)] = 1e-8
    """Added to the root of the second moment."""
    weight_decay: Annotated[NonNegativeNumber, chosen("torch's default for AdamW")] = 0.01
    """Share of each weight, times lr, subtracted per step."""


class SgdOptimizer(Section):
    """Stochastic gradient descent."""

    name: Annotated[Literal["sgd"], chosen("for comparison with the paper's Adam")]
    """SGD."""
    lr: Annotated[PositiveNumber, stated("3.1")] = 0.01
    """Learning rate."""
    momentum: Annotated[Decay, chosen("torch's default: plain gradient descent")] = 0.0
    """Decay rate of the velocity."""
    weight_decay: Annotated[NonNegativeNumber, chosen("the paper names none, so there is none")] = 0.0
    """L2 penalty, added to the gradient."""


def _optimizer_name(optimizer: Any) -> str | None:
    """Return the name of an optimizer. Without a name it is the paper's: `optimizer: {lr: 0.001}` is Adam."""
    if isinstance(optimizer, dict):
        name = optimizer.get("name", "adam")
        return name if isinstance(name, str) else None
    return getattr(optimizer, "name", None)


OptimizerSpec = Annotated[
    Annotated[AdamOptimizer, Tag("adam")]
    | Annotated[AdamwOptimizer, Tag("adamw")]
    | Annotated[SgdOptimizer, Tag("sgd")],
    Discriminator(_optimizer_name),
]


class StopSpec(Section):
    """When training ends before max_epochs (the paper, Table 1)."""

    at: Annotated[Literal["lm", "gm", "never"], chosen("Algorithm 1 needs confident outputs, which a GM gives")] = "gm"
    """lm: when the training loss hardly changes; gm: when it is also about zero; never: after all epochs."""
    epsilon: Annotated[
        PositiveNumber, chosen("the paper's ~ has no number; 0.05 is a probability of 95% for the label")
    ] = 0.05
    """Tolerance of lm and gm, in nats; with mse, in squares of the targets' unit."""
    patience: Annotated[
        int, Field(ge=1, le=1_000_000), chosen("two epochs may be close by chance while the loss still falls")
    ] = 10
    """Epochs over which the training loss must hardly change for an LM."""


LOSS_UNITS = {"sparse_cross_entropy": "nats", "mse": "MSE"}


class TrajectorySpec(Section):
    """The points of the path of training that are recorded (trajectory.csv)."""

    every: Annotated[int, Field(ge=1, le=1_000_000), chosen("every epoch, unless training is long")] = 1
    """Epochs from one recorded point to the next; the first, the last and theta* are always recorded."""
    weights: Annotated[bool, chosen("a point of ResNet50 takes 94 MB, and few users need them")] = False
    """Keep the weights of each point in the run folder."""


class AveragingSpec(Section):
    """The mean of the weights along the end of training as theta* (Izmailov et al. 2018)."""

    start: Annotated[int, Field(ge=1, le=1_000_000), chosen("a mean needs its first epoch")]
    """theta* is the mean of the weights after this epoch and every later one. If training stops before it, no mean is taken."""


class TrainingSpec(Section):
    """How a network is trained. A model's own `training` overrides this section."""

    optimizer: Annotated[OptimizerSpec, stated("3.1")] = AdamOptimizer()
    """The optimizer."""
    schedule: Annotated[Literal["constant", "cosine"], chosen("the paper gives one learning rate")] = "constant"
    """Learning rate after the warm-up: constant, or a cosine to 0 at max_epochs."""
    loss: Annotated[Literal["sparse_cross_entropy", "mse"], stated("3.1")] = "sparse_cross_entropy"
    """For classes: sparse_cross_entropy, in nats. For numbers as targets: mse, the mean squared error of an input's outputs."""
    clip_probability: Annotated[
        Annotated[float, Field(gt=0, lt=0.5)] | None,
        chosen("the paper mentions no clipping; Keras clips at 1e-7, so that no loss is above 16.1"),
    ] = None
    """Probabilities are clipped to [c, 1 - c] in every hard-label loss; null: no clipping. Not with mse."""
    batch_size: Annotated[int, Field(ge=1, le=2**20), chosen("the paper gives none; 256 trains all three networks")] = (
        256
    )
    """Images per step."""
    warmup_steps: Annotated[
        int, Field(ge=0, le=1_000_000), chosen("at lr 0.01 Adam's first steps may end in a constant predictor")
    ] = 40
    """Steps over which the learning rate rises linearly to lr."""
    max_epochs: Annotated[int, Field(ge=1, le=1_000_000), chosen("the paper gives none; enough for a GM")] = 200
    """Largest number of epochs."""
    stop: Annotated[StopSpec, stated("Table 1")] = StopSpec()
    """When training ends before `max_epochs`."""
    reestimate_batch_norm: Annotated[
        bool, chosen("running averages lag behind the weights; the surface needs the statistics of theta* itself")
    ] = True
    """Measure batch norm's statistics at theta*, in one pass over the training part in data order."""
    reseeds: Annotated[int, Field(ge=0, le=100), chosen("a network may collapse by chance")] = 3
    """Number of tries with another seed if a network collapses to one class, or to one output."""
    trajectory: Annotated[
        TrajectorySpec | None, chosen("the paper draws no path; its future work asks whether training reaches a TM")
    ] = None
    """Record the path of training; null: do not."""
    averaging: Annotated[
        AveragingSpec | None, chosen("the paper averages nothing; a mean helps if training hovers around a minimum")
    ] = None
    """Take the mean of the weights of several epochs; null: the point after the epoch of lowest T."""
    seed: Annotated[Seed, chosen("any fixed number")] = 0
    """Seed of the initial weights and of the order of images."""
