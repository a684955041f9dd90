"""The frozen records passed between rooms: numpy only, no torch, no files, no behaviour except checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64

Category = Literal["none", "collapsed", "diverged", "LM", "GM", "TM"]
Relabelling = Literal["hard", "soft", "outputs"]  # y~: classes, distributions, or the network's outputs

# Categories without a point: such a network never reached an LM or GM.
FAILED: frozenset[Category] = frozenset({"collapsed", "diverged"})

GRID_ORIGINS = ("corner", "center")


def loss_bound(loss: float) -> float:
    """Return the allowed error of a surface where float64 gives `loss`: 1e-5 (|loss| + 0.01).

    A purely relative bound is meaningless for a loss of 5e-6.
    """
    return 1e-5 * (abs(loss) + 0.01)


@dataclass(frozen=True)
class Grid:
    """The points of a surface: theta* + a[i] delta^ + b[j] eta^ (the paper, Algorithm 2).

    `a` and `b` are distances in parameter space when the directions have unit norm. `home` is the (i, j) of theta*.
    `step` is the spacing of `a` and of `b` in those units.
    """

    a: Float64[np.ndarray, " K"]
    b: Float64[np.ndarray, " K"]
    home: tuple[int, int]
    step: float


@dataclass(frozen=True)
class Surface:
    """A loss surface: loss[i, j] (nats) and accuracy[i, j] (share) at (a[i], b[j]). nan and inf are valid results.

    With numbers as targets, the loss is a mean squared error and every accuracy is nan.
    """

    loss: Float64[np.ndarray, "Ka Kb"]
    accuracy: Float64[np.ndarray, "Ka Kb"]
    a: Float64[np.ndarray, " Ka"]
    b: Float64[np.ndarray, " Kb"]


@dataclass(frozen=True)
class Signature:
    """Inputs of a network, [n, *shape] of a NumPy `dtype`, and its outputs: logits [n, classes], or numbers [n, *numbers].

    `least` and `largest` are the range of integers, such as tokens; 0 for other inputs. `classes` is None if targets are numbers.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    least: int = 0
    largest: int = 0
    classes: int | None = None
    numbers: tuple[int, ...] = ()

    @staticmethod
    def of_pictures(*, classes: int, size: int) -> Signature:
        """Return the signature for RGB pictures of size x size."""
        return Signature((3, size, size), classes=classes)

    @property
    def outputs(self) -> tuple[int, ...]:
        """The shape of the output of a network for one input."""
        return self.numbers if self.classes is None else (self.classes,)

    @property
    def side(self) -> int | None:
        """Height and width if inputs are square RGB pictures, else None."""
        match self:
            case Signature(shape=(3, height, width), dtype="float32") if height == width:
                return height
            case _:
                return None


@dataclass(frozen=True)
class Epoch:
    """One row of history.csv. Losses are in nats. `seconds` is the time since training began, without pauses.

    With numbers as targets, losses are mean squared errors and accuracies are None.
    """

    epoch: int
    train_loss: float
    train_accuracy: float | None
    validation_loss: float
    validation_accuracy: float | None
    lr: float
    seconds: float


@dataclass(frozen=True)
class History:
    """The epochs of one training, in order; epoch numbers count from 1."""

    epochs: tuple[Epoch, ...]

    @property
    def train_losses(self) -> Float64[np.ndarray, " epochs"]:
        """T_i of every epoch."""
        return np.array([epoch.train_loss for epoch in self.epochs], dtype=np.float64)

    @property
    def validation_losses(self) -> Float64[np.ndarray, " epochs"]:
        """V_i of every epoch."""
        return np.array([epoch.validation_loss for epoch in self.epochs], dtype=np.float64)


@dataclass(frozen=True)
class Minimum:
    """The facts about theta* (the paper, Table 1 and Algorithm 1). Field names are those of minimum.json.

    Losses are in nats, or mean squared errors if `labels` is outputs. A field is None if it is undefined (accuracies of
    numbers) or if its condition never held. `train_loss_last` is T_i of the last epoch, `train_loss_previous` is T_{i-1}.
    `train_loss_at_minimum` is T*, the eval-mode loss on the training part; `validation_loss` is V, that on the held-out part;
    both with the given labels. `relabelled_loss` is V~, the loss on X~. First epochs are those at which a condition first
    held. `depth_below_minimum` has, by surface, how far the lowest point of its plane lies below theta*. It is empty until
    the surfaces exist. If a network diverged, there is no theta*: its fields are None, and `best_epoch` is 0 if no epoch ended.
    """

    model: str
    category: Category
    reason: str
    labels: Relabelling
    epsilon: float
    epochs: int
    best_epoch: int
    stopped: Literal["lm", "gm", "max_epochs", "diverged"]
    train_loss_last: float | None
    train_loss_previous: float | None
    train_loss_at_minimum: float | None
    validation_loss: float | None
    relabelled_loss: float | None
    train_accuracy: float | None
    validation_accuracy: float | None
    relabelled_accuracy: float | None
    gradient_norm: float | None
    theta_norm: float | None
    parameters: int
    seed: int
    seeds_collapsed: tuple[int, ...]
    lm_first_epoch: int | None
    gm_first_epoch: int | None
    validation_first_epoch: int | None
    lm_first_seconds: float | None
    gm_first_seconds: float | None
    validation_first_seconds: float | None
    training_seconds: float
    depth_below_minimum: dict[str, float | None] = field(default_factory=dict)

    @property
    def has_surface(self) -> bool:
        """Whether the network has a surface. It has none if it collapsed or diverged."""
        return self.category not in FAILED


@dataclass(frozen=True)
class PlanePlace:
    """The nearest point of a plane through theta* to a point of parameter space: theta* + a delta^ + b eta^.

    `distance` is the distance of the point from the plane. None if the two directions do not span a plane.
    """

    a: float | None
    b: float | None
    distance: float | None


@dataclass(frozen=True)
class TrajectoryPoint:
    """One point of the path of training; epoch 0 is before the first update.

    `loss` (nats) is the loss on X~ in eval mode, with batch norm statistics as for theta*. `gradient_norm` is the norm of its
    gradient. `distance` is ||theta - theta*||. `cosine` is that of the angle between the step from the previous point and the
    direction from there to theta*. `components` are the coordinates along the two principal components of the path, relative
    to theta*; None if it has fewer. `places` are the coordinates in the plane of each surface, by its name.
    """

    epoch: int
    loss: float | None
    distance: float
    gradient_norm: float | None
    cosine: float | None
    components: tuple[float, float] | None
    places: dict[str, PlanePlace] = field(default_factory=dict)


@dataclass(frozen=True)
class Direction:
    """The seed of a direction of a surface, the SHA-256 of its raw stream, and its norm after normalisation.

    `seed` is None if the direction does not come from a seed.
    """

    seed: int | None
    sha256: str
    norm: float


@dataclass(frozen=True)
class SurfaceError:
    """The measured error of a surface: the largest |S - S64| / (1e-5 (|S64| + 0.01)). S64 is the definition in float64.

    `over_bound` is None if float64 cannot be computed, or if only one of S and S64 is finite. `points` are the (i, j) at which
    it was measured, on the first `images` images. `note` says why it is None or above 1.
    """

    over_bound: float | None
    points: tuple[tuple[int, int], ...]
    images: int
    note: str | None = None


@dataclass(frozen=True)
class Mark:
    """Another point that defines a plane: theta* of the network `name`, at (a, b)."""

    name: str
    a: float
    b: float


@dataclass(frozen=True)
class SurfaceFacts:
    """The attributes of a surface that describe its axes and data; stored in its zarr group.

    `theta_norm` is ||theta*||_2 over all parameters; `cosine` is that of the angle between delta^ and eta^. `error` is None
    until the surface is complete and measured. `marks` are the other points that define the plane.
    """

    delta: Direction
    eta: Direction
    cosine: float
    theta_norm: float
    images: int
    labels: str
    error: SurfaceError | None = None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Density:
    """The density of a Hessian's eigenvalues: `values` [g] at `grid` [g], whose integral is 1.

    Each eigenvalue found with `probes` random vectors is a Gaussian of standard deviation `width`.
    """

    grid: Float64[np.ndarray, " g"]
    values: Float64[np.ndarray, " g"]
    width: float
    probes: int


@dataclass(frozen=True)
class Curvature:
    """The curvature of the mean loss over `images` inputs at theta*: results about its Hessian H over `parameters` numbers.

    `eigenvalues` [top] are the algebraically largest ones, largest first; `residuals` [top] are ||H v - lambda v|| of their unit
    `vectors` [top, n] (float32). H has an eigenvalue within the residual of each. `converged` [top]: the residual is
    within `tolerance` times `scale`, the largest absolute eigenvalue that was seen, and the search ended by itself.
    `trace` is the mean of `trace_samples` [probes], one estimate per vector of random signs (Hutchinson); `trace_error` is its
    standard error. `products` is the number of products of H with a vector that were computed.
    """

    eigenvalues: Float64[np.ndarray, " top"]
    residuals: Float64[np.ndarray, " top"]
    vectors: Float32[np.ndarray, "top n"]
    converged: Bool[np.ndarray, " top"]
    tolerance: float
    scale: float
    trace: float
    trace_error: float
    trace_samples: Float64[np.ndarray, " probes"]
    density: Density | None
    parameters: int
    images: int
    seed: int
    products: int

    @property
    def mean_eigenvalue(self) -> float:
        """tr(H) / N: the mean curvature along a random unit direction (arXiv 2208.13219)."""
        return self.trace / self.parameters


@dataclass(frozen=True)
class Spectrum:
    """The data of a figure of a Hessian: its largest `eigenvalues` [top], its `mean` with its standard error, its `density`."""

    eigenvalues: Float64[np.ndarray, " top"]
    converged: bool
    mean: float
    mean_error: float
    parameters: int
    density: Density | None
