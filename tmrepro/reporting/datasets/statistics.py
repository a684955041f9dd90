"""`tmrepro.surface_statistics`: the statistics of statistics.json, for a user's own surface."""

from __future__ import annotations

import numpy as np
import xarray as xr

from tmrepro.errors import UsageError
from tmrepro.reporting.datasets.reading import home_of, is_line, number, require_dataset, surface_in
from tmrepro.statistics import Value
from tmrepro.statistics import surface_statistics as statistics_of

EVEN = 1e-9  # of a step: allowed rounding error of evenly spaced points


def surface_statistics(ds: xr.Dataset) -> dict[str, Value]:
    """Return the statistics of a loss surface by name, as in the statistics.json of a run.

    Args:
        ds: a surface from `loss_surface` or `open_run(RUN).surface(SURFACE, MODEL)`, in memory or loaded from a file. theta*
            (a = b = 0) must be one of its points. The points must be evenly spaced, with the same step along a and b.

    Returns:
        Every name in `tmrepro.statistics.STATISTICS`, which has their meanings and units. Lengths are in units of a and b.
        None means undefined. Losses that are not finite are excluded, and counted in `non_finite`.

    Raises:
        UsageError: `ds` is not such a surface.
    """
    found = require_dataset(ds)
    if is_line(found):
        raise UsageError("expected a surface [a, b], got a line: statistics need a surface")
    surface = surface_in(found)
    home = home_of(surface.a, surface.b)
    if home is None:
        raise UsageError("theta* (a = b = 0) is not a point of this surface, but statistics are relative to it")
    steps = np.concatenate([np.diff(surface.a), np.diff(surface.b)])
    if not steps.size or np.ptp(steps) > EVEN * steps.max():
        raise UsageError(
            "statistics need evenly spaced points with the same step along a and b, but this surface has other points"
        )
    step = number(found, "step", otherwise=_step_at(home, surface.a, surface.b))
    if abs(step - steps[0]) > EVEN * steps[0]:
        step = float(steps[0])  # some points have been removed
    error = number(found, "error_over_bound", otherwise=float("nan"))
    return statistics_of(
        surface, home=(home[0], home[1]), step=step, error_over_bound=None if np.isnan(error) else error
    )


def _step_at(home: tuple[int, ...], a: np.ndarray, b: np.ndarray) -> float:
    """Return the spacing next to theta*, where there is no rounding."""
    for axis, index in ((a, home[0]), (b, home[1])):
        if index + 1 < len(axis):
            return float(axis[index + 1])
        if index > 0:
            return float(-axis[index - 1])
    return float("nan")
