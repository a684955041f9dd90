"""Second differences of a surface: its roughness, and where it is convex."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64

from tmrepro.statistics.landscape import Landscape, mean, ratio

# An eigenvalue of the Hessian down to this value, in R / step^2, is regarded as rounding
CONVEXITY_TOLERANCE = 1e-6


def roughness(landscape: Landscape) -> float | None:
    """Return the root mean square of the second differences of log(1 + S), over the range of log(1 + S).

    Both axes are pooled. A difference that includes a point without a finite log(1 + S) is ignored. None if no
    difference is left or the surface is flat.
    """
    logs = _log1p(landscape.loss)
    finite_logs = logs[np.isfinite(logs)]
    along_a = logs[2:, :] - 2 * logs[1:-1, :] + logs[:-2, :]
    along_b = logs[:, 2:] - 2 * logs[:, 1:-1] + logs[:, :-2]
    differences = np.concatenate([along_a.ravel(), along_b.ravel()])
    square = mean(np.square(differences[np.isfinite(differences)]))
    if square is None:
        return None
    return ratio(math.sqrt(square), float(finite_logs.max()) - float(finite_logs.min()))


def convex_fraction(landscape: Landscape) -> float | None:
    """Return the share of interior points whose finite-difference Hessian has no eigenvalue below -1e-6 R / step^2.

    Points with a non-finite loss among the nine that are needed are ignored. None if no point is left.
    """
    if landscape.span is None:
        return None
    # In units of R and of the step, the bound is a constant, and the differences cannot overflow. A flat surface has
    # no R, and no curvature either.
    s = (landscape.loss - landscape.finite_losses.min()) / (landscape.span or 1.0)
    h_aa = s[2:, 1:-1] - 2 * s[1:-1, 1:-1] + s[:-2, 1:-1]
    h_bb = s[1:-1, 2:] - 2 * s[1:-1, 1:-1] + s[1:-1, :-2]
    h_ab = (s[2:, 2:] - s[2:, :-2] - s[:-2, 2:] + s[:-2, :-2]) / 4
    half_gap = (h_aa - h_bb) / 2
    lowest = (h_aa + h_bb) / 2 - np.sqrt(half_gap * half_gap + h_ab * h_ab)  # of a symmetric 2 x 2 matrix
    counted = lowest[np.isfinite(lowest)]
    return mean((counted >= -CONVEXITY_TOLERANCE).astype(np.float64))


def _log1p(losses: Float64[np.ndarray, "Ka Kb"]) -> Float64[np.ndarray, "Ka Kb"]:
    """Return log(1 + S), or nan if it is not finite. It uses the C library, because NumPy's kernel depends on the CPU."""
    logs = np.full(losses.shape, math.nan)
    defined = np.isfinite(losses) & (losses > -1)
    for row, line, where in zip(logs, losses, defined, strict=True):
        row[where] = [math.log1p(loss) for loss in line[where].tolist()]
    return logs
