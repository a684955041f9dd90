"""Every statistic of a surface, in the order of storage and display, and every number of minimum.json."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from tmrepro.statistics import curvature, geometry, levels, topology
from tmrepro.statistics.landscape import Landscape
from tmrepro.statistics.ranges import (
    ASYMMETRY,
    EPOCHS,
    LENGTH,
    LOSS,
    MINIMA,
    PERCENT_OF_RISE,
    PERSISTENCE,
    POINTS,
    RADIUS,
    RISE,
    ROUGHNESS,
    SHARE_OF_INTERIOR,
    SHARE_OF_OWN_LABELS,
    SHARE_OF_POINTS,
    SHARE_OF_TRAINING,
    SHARE_OF_VALIDATION,
    Range,
    always,
    no_band,
)

# A statistic's value: counts are int; None if it is undefined.
Value: TypeAlias = float | int | None


@dataclass(frozen=True)
class StatisticInfo:
    """One number: its name, meaning and possible values.

    `unit` is empty for a pure number. `integer`: its values are counts. `compute` computes it from a surface; None if it does
    not follow from the losses.
    """

    name: str
    description: str
    unit: str = ""
    integer: bool = False
    range: Range = field(kw_only=True)
    compute: Callable[[Landscape], Value] | None = field(kw_only=True, default=None, repr=False)


STATISTICS: tuple[StatisticInfo, ...] = (
    StatisticInfo("loss_at_minimum", "loss at theta* (S0)", "nats", range=LOSS, compute=levels.loss_at_minimum),
    StatisticInfo(
        "depth_below_minimum",
        "how far the lowest point lies below theta*: S0 less the smallest loss",
        "nats",
        range=RISE,
        compute=levels.depth_below_minimum,
    ),
    StatisticInfo("loss_min", "smallest finite loss", "nats", range=LOSS, compute=levels.loss_min),
    StatisticInfo("loss_max", "largest finite loss", "nats", range=LOSS, compute=levels.loss_max),
    StatisticInfo("loss_mean", "mean of the finite losses", "nats", range=LOSS, compute=levels.loss_mean),
    StatisticInfo("loss_median", "median of the finite losses", "nats", range=LOSS, compute=levels.loss_median),
    StatisticInfo(
        "non_finite",
        "points whose loss is nan or infinite",
        "points",
        integer=True,
        range=POINTS,
        compute=levels.non_finite,
    ),
    StatisticInfo(
        "slope_at_minimum",
        "norm of the finite-difference gradient at theta*",
        "nats per unit of a and b",
        range=RISE,
        compute=geometry.slope_at_minimum,
    ),
    StatisticInfo(
        "sharpness_0.1",
        "100 max (S - S0) / (1 + S0) within 0.1 of the grid's reach from theta*",
        "%",
        range=PERCENT_OF_RISE,
        compute=partial(geometry.sharpness, share=0.1),
    ),
    StatisticInfo(
        "sharpness_0.25",
        "100 max (S - S0) / (1 + S0) within 0.25 of the grid's reach from theta*",
        "%",
        range=PERCENT_OF_RISE,
        compute=partial(geometry.sharpness, share=0.25),
    ),
    StatisticInfo(
        "sharpness_0.5",
        "100 max (S - S0) / (1 + S0) within 0.5 of the grid's reach from theta*",
        "%",
        range=PERCENT_OF_RISE,
        compute=partial(geometry.sharpness, share=0.5),
    ),
    StatisticInfo(
        "low_loss_fraction_0.1",
        "share of the grid connected to theta* at a loss of at most S0 + 0.1",
        range=SHARE_OF_POINTS,
        compute=partial(topology.low_loss_fraction, rise=0.1),
    ),
    StatisticInfo(
        "low_loss_fraction_0.5",
        "share of the grid connected to theta* at a loss of at most S0 + 0.5",
        range=SHARE_OF_POINTS,
        compute=partial(topology.low_loss_fraction, rise=0.5),
    ),
    StatisticInfo(
        "low_loss_fraction_1.0",
        "share of the grid connected to theta* at a loss of at most S0 + 1",
        range=SHARE_OF_POINTS,
        compute=partial(topology.low_loss_fraction, rise=1.0),
    ),
    StatisticInfo(
        "half_rise_radius",
        "radius where the mean loss has risen half-way to the far edges",
        "unit of a",
        range=RADIUS,
        compute=geometry.half_rise_radius,
    ),
    StatisticInfo(
        "roughness",
        "root mean square second difference of log(1 + S), over the range of log(1 + S)",
        range=ROUGHNESS,
        compute=curvature.roughness,
    ),
    StatisticInfo(
        "local_minima",
        "minima deeper than 1% of the range of the loss",
        "minima",
        integer=True,
        range=MINIMA,
        compute=topology.local_minima,
    ),
    StatisticInfo(
        "total_persistence",
        "depth of all those minima but the deepest, over the range of the loss",
        range=PERSISTENCE,
        compute=topology.total_persistence,
    ),
    StatisticInfo(
        "axis_asymmetry",
        "mean |S(a, b) - S(b, a)| over mean |S - S0|",
        range=ASYMMETRY,
        compute=geometry.axis_asymmetry,
    ),
    StatisticInfo(
        "point_asymmetry",
        "mean |S(a, b) - S(-a, -b)| over mean |S - S0|; centred grids",
        range=ASYMMETRY,
        compute=geometry.point_asymmetry,
    ),
    StatisticInfo(
        "convex_fraction",
        "share of interior points where the surface curves upwards in every direction",
        range=SHARE_OF_INTERIOR,
        compute=curvature.convex_fraction,
    ),
    StatisticInfo(
        "error_over_bound",
        "largest error against float64, where measured, over 1e-5 (|S| + 0.01)",
        range=no_band("rounding alone decides it; above 1 is judged without one"),
    ),
)

_AS_THE_SPEC = no_band("it follows from the spec")
_A_TIME = no_band("it is a time")
_IN_THE_HISTORY = no_band("history.csv is compared instead")

MINIMUM_NUMBERS: tuple[StatisticInfo, ...] = (
    StatisticInfo("epochs", "epochs of training", "epochs", integer=True, range=EPOCHS),
    StatisticInfo("train_loss_at_minimum", "T*: loss of theta* on the training part", "nats", range=always(LOSS)),
    StatisticInfo("validation_loss", "V: loss of theta* on the held-out part", "nats", range=always(LOSS)),
    StatisticInfo(
        "relabelled_loss", "V~: loss of theta* on the training part with its own labels", "nats", range=always(LOSS)
    ),
    StatisticInfo("train_accuracy", "share of the training part that theta* gets right", range=SHARE_OF_TRAINING),
    StatisticInfo(
        "validation_accuracy", "share of the held-out part that theta* gets right", range=SHARE_OF_VALIDATION
    ),
    StatisticInfo(
        "relabelled_accuracy", "share of the training part whose own label theta* gives", range=SHARE_OF_OWN_LABELS
    ),
    StatisticInfo(
        "gradient_norm", "norm of the gradient of V~ at theta*", "nats per unit of theta", range=always(LENGTH)
    ),
    StatisticInfo("theta_norm", "norm of theta*, all parameters together", "unit of theta", range=always(LENGTH)),
    StatisticInfo("epsilon", "what counts as about zero", "nats", range=_AS_THE_SPEC),
    StatisticInfo("best_epoch", "the epoch of theta*", "epochs", integer=True, range=_IN_THE_HISTORY),
    StatisticInfo("train_loss_last", "T_i of the last epoch", "nats", range=_IN_THE_HISTORY),
    StatisticInfo("train_loss_previous", "T_i of the epoch before the last", "nats", range=_IN_THE_HISTORY),
    StatisticInfo("parameters", "parameters of the network", integer=True, range=_AS_THE_SPEC),
    StatisticInfo("seed", "seed of the training that gave theta*", integer=True, range=_AS_THE_SPEC),
    StatisticInfo("lm_first_epoch", "first epoch of an LM", "epochs", integer=True, range=_IN_THE_HISTORY),
    StatisticInfo("gm_first_epoch", "first epoch of a GM", "epochs", integer=True, range=_IN_THE_HISTORY),
    StatisticInfo(
        "validation_first_epoch", "first epoch with V_i about zero", "epochs", integer=True, range=_IN_THE_HISTORY
    ),
    StatisticInfo("lm_first_seconds", "seconds to the first LM", "s", range=_A_TIME),
    StatisticInfo("gm_first_seconds", "seconds to the first GM", "s", range=_A_TIME),
    StatisticInfo("validation_first_seconds", "seconds to the first V_i about zero", "s", range=_A_TIME),
    StatisticInfo("training_seconds", "seconds of training", "s", range=_A_TIME),
)
# The numbers of these that are compared with those of another run, by a band if there is one.
COMPARED_NUMBERS: tuple[str, ...] = tuple(info.name for info in MINIMUM_NUMBERS if not info.range.no_band)

_SURFACE = {info.name: info for info in STATISTICS}
_MINIMUM = {info.name: info for info in MINIMUM_NUMBERS}
_UNKNOWN = no_band("its meaning is unknown")


def number_info(name: str, *, of_surface: bool) -> StatisticInfo:
    """Return the description of a statistic, or of a number of minimum.json; for an unknown number, only its name."""
    return (_SURFACE if of_surface else _MINIMUM).get(name, StatisticInfo(name, "", range=_UNKNOWN))


def never_banded(name: str) -> str:
    """Return why replicates cannot predict the next value of this number; empty if they can."""
    return RANGES[name].no_band if name in RANGES else ""


RANGES: dict[str, Range] = {info.name: info.range for info in (*STATISTICS, *MINIMUM_NUMBERS)}
