"""The statistics of a loss surface: numbers with a definition for what the paper says in words about its figures.

    from tmrepro.statistics import surface_statistics

    values = surface_statistics(surface, home=grid.home, step=grid.step)

    landscape    a surface for its statistics: theta*, finite points, range
    levels       values of the loss
    geometry     slope, sharpness, the radius of half rise, asymmetries
    curvature    second differences: roughness, convexity
    topology     the low region around theta*, and the number and depth of minima
    catalogue    every statistic's name, unit and meaning, in the order in which they are stored
    ranges       the possible values of a number, and the scale of its band
    schema       the JSON Schema of statistics.json

Two rules hold throughout. A point whose loss is not finite is ignored, and counted in `non_finite`. A statistic is
None if it is undefined (0/0, no points, beyond the range of float64, relative to a theta* whose loss is not finite).

Neither BLAS nor LAPACK is used, and logarithms come from the C library one by one, because NumPy's own kernels choose
instructions by CPU. So the same surface gives the same bits on every machine of a platform, and nothing is rounded.
"""

from __future__ import annotations

import math

import numpy as np

from tmrepro.errors import UsageError
from tmrepro.records import Surface
from tmrepro.statistics.catalogue import (
    COMPARED_NUMBERS,
    MINIMUM_NUMBERS,
    RANGES,
    STATISTICS,
    StatisticInfo,
    Value,
    never_banded,
    number_info,
)
from tmrepro.statistics.landscape import Landscape
from tmrepro.statistics.schema import statistics_schema

__all__ = [
    "COMPARED_NUMBERS",
    "MINIMUM_NUMBERS",
    "RANGES",
    "STATISTICS",
    "StatisticInfo",
    "Value",
    "never_banded",
    "number_info",
    "statistics_schema",
    "surface_statistics",
]


def surface_statistics(
    surface: Surface, *, home: tuple[int, int], step: float, error_over_bound: float | None = None
) -> dict[str, Value]:
    """Return every statistic of `surface`, in the order of `STATISTICS`; None if it is undefined.

    Args:
        surface: only its `loss` is used, which may contain nan and inf, and need not be square.
        home: the (i, j) of theta*: (0, 0) of a corner grid, ((K-1)/2, (K-1)/2) of a centred one.
        step: spacing of `surface.a` and of `surface.b`, in their units.
        error_over_bound: the error measured when the surface was evaluated. It cannot be computed from the losses.

    Raises:
        UsageError: `home` is not a point of the surface, or `step` is not a finite number above 0.
    """
    _check(surface.loss.shape, home, step)
    landscape = Landscape(loss=surface.loss, home=home, step=step)
    with np.errstate(all="ignore"):  # an overflow is an undefined statistic, not a warning
        values = {info.name: info.compute(landscape) for info in STATISTICS if info.compute is not None}
    values["error_over_bound"] = error_over_bound
    return {name: _stored(value) for name, value in values.items()}


def _check(shape: tuple[int, ...], home: tuple[int, int], step: float) -> None:
    if not (0 <= home[0] < shape[0] and 0 <= home[1] < shape[1]):
        raise UsageError(f"home: expected the (i, j) of a point of the {shape[0]} x {shape[1]} surface, got {home}")
    if not (math.isfinite(step) and step > 0):
        raise UsageError(f"step: expected a finite number above 0, got {step}")


def _stored(value: Value) -> Value:
    """Return `value` as a plain Python number, or None if it exceeded the range of float64."""
    if value is None or isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else None
