"""`tmrepro.surface_statistics`: what statistics.json says of a run's surfaces, for anyone's own."""

from __future__ import annotations

import numpy as np
import xarray as xr

from tmrepro.datasets.reading import home_of, is_line, number, require_dataset, surface_in
from tmrepro.errors import UsageError
from tmrepro.statistics import Value
from tmrepro.statistics import surface_statistics as statistics_of

EVEN = 1e-9  # of a step: what rounding leaves of an even spacing


def surface_statistics(ds: xr.Dataset) -> dict[str, Value]:
    """The statistics of a loss surface, by name, as statistics.json has them for a run.

    Args:
        ds: a surface of `loss_surface` or `open_run(RUN).surface(SURFACE, MODEL)`, in memory or loaded from a file. Theta*
            (a = b = 0) must be one of its points, and these evenly spaced, alike along a and b.

    Returns:
        Every name in `tmrepro.statistics.STATISTICS`, which has their meanings and units; lengths in units of a and b. None is
        undefined. Losses that are not finite are left out, and counted in `non_finite`.

    Raises:
        UsageError: it is no such surface, in words.
    """
    found = require_dataset(ds)
    if is_line(found):
        raise UsageError("expected a surface [a, b], got a line: statistics are those of a surface")
    surface = surface_in(found)
    home = home_of(surface.a, surface.b)
    if home is None:
        raise UsageError("theta* (a = b = 0) is no point of this surface, and statistics are relative to it")
    steps = np.concatenate([np.diff(surface.a), np.diff(surface.b)])
    if not steps.size or np.ptp(steps) > EVEN * steps.max():
        raise UsageError("the points are not evenly spaced, alike along a and b, which statistics need")
    step = number(found, "step", otherwise=_step_at(home, surface.a, surface.b))
    if abs(step - steps[0]) > EVEN * steps[0]:
        step = float(steps[0])  # some of the points have been taken out
    error = number(found, "error_over_bound", otherwise=float("nan"))
    return statistics_of(
        surface, home=(home[0], home[1]), step=step, error_over_bound=None if np.isnan(error) else error
    )


def _step_at(home: tuple[int, ...], a: np.ndarray, b: np.ndarray) -> float:
    """The spacing beside theta*, where nothing is rounded."""
    for axis, index in ((a, home[0]), (b, home[1])):
        if index + 1 < len(axis):
            return float(axis[index + 1])
        if index > 0:
            return float(-axis[index - 1])
    return float("nan")
