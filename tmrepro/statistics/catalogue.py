"""Every statistic of a surface: its name, what it says, its unit; in the order in which they are stored and shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StatisticInfo:
    """One statistic. `unit` is empty for a pure number; `integer` says that its values are counts."""

    name: str
    description: str
    unit: str = ""
    integer: bool = False


STATISTICS: tuple[StatisticInfo, ...] = (
    StatisticInfo("loss_at_minimum", "loss at theta* (S0)", "nats"),
    StatisticInfo(
        "depth_below_minimum", "how far the lowest point lies below theta*: S0 less the smallest loss", "nats"
    ),
    StatisticInfo("loss_min", "smallest finite loss", "nats"),
    StatisticInfo("loss_max", "largest finite loss", "nats"),
    StatisticInfo("loss_mean", "mean of the finite losses", "nats"),
    StatisticInfo("loss_median", "median of the finite losses", "nats"),
    StatisticInfo("non_finite", "points whose loss is nan or infinite", "points", integer=True),
    StatisticInfo("slope_at_minimum", "norm of the finite-difference gradient at theta*", "nats per unit of a and b"),
    StatisticInfo("sharpness_0.1", "100 max (S - S0) / (1 + S0) within 0.1 of the grid's reach from theta*", "%"),
    StatisticInfo("sharpness_0.25", "100 max (S - S0) / (1 + S0) within 0.25 of the grid's reach from theta*", "%"),
    StatisticInfo("sharpness_0.5", "100 max (S - S0) / (1 + S0) within 0.5 of the grid's reach from theta*", "%"),
    StatisticInfo("low_loss_fraction_0.1", "share of the grid connected to theta* at a loss of at most S0 + 0.1"),
    StatisticInfo("low_loss_fraction_0.5", "share of the grid connected to theta* at a loss of at most S0 + 0.5"),
    StatisticInfo("low_loss_fraction_1.0", "share of the grid connected to theta* at a loss of at most S0 + 1"),
    StatisticInfo("half_rise_radius", "radius where the mean loss has risen half-way to the far edges", "unit of a"),
    StatisticInfo("roughness", "root mean square second difference of log(1 + S), over the range of log(1 + S)"),
    StatisticInfo("local_minima", "minima deeper than 1% of the range of the loss", "minima", integer=True),
    StatisticInfo("total_persistence", "depth of all those minima but the deepest, over the range of the loss"),
    StatisticInfo("axis_asymmetry", "mean |S(a, b) - S(b, a)| over mean |S - S0|"),
    StatisticInfo("point_asymmetry", "mean |S(a, b) - S(-a, -b)| over mean |S - S0|; centred grids"),
    StatisticInfo("convex_fraction", "share of interior points where the surface curves upwards in every direction"),
    StatisticInfo("error_over_bound", "largest error against float64, where measured, over 1e-5 (|S| + 0.01)"),
)
