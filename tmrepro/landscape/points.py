"""The points of a surface or a line, from the caller's grid, origin, step and unit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float64

from tmrepro.errors import UsageError
from tmrepro.landscape.arguments import choice
from tmrepro.spec.limits import LARGEST_K
from tmrepro.surface import build_grid

Origin = Literal["corner", "center"]
Unit = Literal["absolute", "relative"]


@dataclass(frozen=True)
class Points:
    """The axes of a surface, and the (i, j) of theta*, if it is one of the points."""

    a: Float64[np.ndarray, " I"]
    b: Float64[np.ndarray, " J"]
    home: tuple[int, int] | None


def points_of(
    grid: Any,
    *,
    origin: Any,
    step: Any,
    unit: Unit,
    theta_norm: float,
) -> Points:
    """Return the points of a `grid`: K, two lengths (K_a, K_b), or two axes.

    Raises:
        UsageError: `grid` is none of these.
    """
    lengths: tuple[Any, Any] | None
    match grid:
        case int() | np.integer():
            lengths = (grid, grid)
        case (int() | np.integer() as rows, int() | np.integer() as columns):
            lengths = (rows, columns)
        case _:
            lengths = None
    if lengths is not None:
        axes = [
            _even(
                K,
                least=2 if lengths[0] == lengths[1] else 1,
                origin=origin,
                step=step,
                unit=unit,
                theta_norm=theta_norm,
            )
            for K in lengths
        ]
        (a, home_a), (b, home_b) = axes
        return Points(a, b, (home_a, home_b))
    if origin is not None or step is not None:
        raise UsageError("origin and step are for a grid given by K; your own axes define all points")
    match grid:
        case (first, second):
            scale = theta_norm if unit == "relative" else 1.0
            a, b = _axis(first, "a") * scale, _axis(second, "b") * scale
        case _:
            raise UsageError(f"grid: expected K, two lengths, or the two axes (a, b), got {type(grid).__name__}")
    at_home = [np.flatnonzero(axis == 0) for axis in (a, b)]
    home = (int(at_home[0][0]), int(at_home[1][0])) if all(len(found) for found in at_home) else None
    return Points(a, b, home)


def line_points(grid: Any, *, origin: Any, step: Any, unit: Unit, theta_norm: float) -> Points:
    """Return the points of a line: K, or an axis. They lie along b, like a row of a surface.

    Raises:
        UsageError: `grid` is neither.
    """
    here = np.zeros(1)
    if isinstance(grid, int | np.integer):
        axis, home = _even(grid, least=2, origin=origin, step=step, unit=unit, theta_norm=theta_norm)
        return Points(here, axis, (0, home))
    if grid is None or isinstance(grid, str):
        raise UsageError(f"grid: expected K, or the points of the line, got {type(grid).__name__}")
    return points_of((here, grid), origin=origin, step=step, unit=unit, theta_norm=theta_norm)


def _even(
    K: Any, *, least: int, origin: Any, step: Any, unit: Unit, theta_norm: float
) -> tuple[Float64[np.ndarray, " K"], int]:
    """Return K evenly spaced points, and the index of theta*."""
    chosen: Origin = origin or "corner"
    choice("origin", chosen, Origin)
    if isinstance(K, bool) or not least <= K <= LARGEST_K:
        raise UsageError(f"grid: expected at least {least} and at most {LARGEST_K} points along each axis (got {K})")
    if chosen == "center" and K % 2 == 0:
        raise UsageError(f"grid: must be odd when the origin is center, so that theta* is a point (got {K})")
    spacing = 1.0 if step is None else float(step)
    if not (spacing > 0 and math.isfinite(spacing * int(K))):
        raise UsageError(f"step: expected a finite number above 0 (got {step})")
    made = build_grid(int(K), origin=chosen, step=spacing, unit=unit, theta_norm=theta_norm)
    return made.a, made.home[0]


def _axis(given: Any, name: str) -> Float64[np.ndarray, " I"]:
    try:
        axis = np.array(given.numpy(force=True) if isinstance(given, torch.Tensor) else given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"grid: axis {name}: expected numbers ({error})") from error
    if axis.ndim != 1 or not 1 <= len(axis) <= LARGEST_K:
        raise UsageError(f"grid: axis {name}: expected 1 to {LARGEST_K} numbers in a row, got shape {list(axis.shape)}")
    if not np.all(np.isfinite(axis)) or not np.all(axis[1:] > axis[:-1]):
        raise UsageError(f"grid: axis {name}: expected finite numbers, each above the one before it")
    return axis
