"""Comparison of two small samples: the exact Mann-Whitney test, the probability of superiority, the ratio of medians.

Infinity means "never reached": it is larger than any number, and tied with itself. Only the intervals are approximations. The
same numbers give the same bits on every machine.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from statistics import NormalDist, median
from typing import Any

import numpy as np
from jaxtyping import Float64

from tmrepro.errors import UsageError

RESAMPLES = 10_000
BOOTSTRAP_SEED = 0
CONFIDENCE = 0.95
EXACT_VALUES = 66  # C(66, 33), the number of assignments, is the last below 2^63; above, counts are rounded
MOST_VALUES = 128  # these take a second or two
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True)
class Test:
    """The one-sided Mann-Whitney test in both directions: p that x is larger, p that x is smaller, P(X > Y) + P(X = Y) / 2."""

    p_larger: float
    p_smaller: float
    superiority: float


def mann_whitney(x: Sequence[float], y: Sequence[float]) -> Test:
    """Compare `x` with `y` exactly. p is the share of all assignments of the ranks with a rank sum at least as extreme.

    Ties have their mid-rank, which makes this the permutation form of the test. Without ties it is
    `scipy.stats.mannwhitneyu(x, y, method="exact")`.
    """
    pooled = sorted([*x, *y])
    first: dict[float, int] = {}
    for place, value in enumerate(pooled):
        first.setdefault(value, place)
    count = Counter(pooled)
    # Twice the mid-rank, an integer: equal values have the places first + 1 .. first + count.
    rank = {value: 2 * first[value] + count[value] + 1 for value in count}
    observed = sum(rank[value] for value in x)
    ways = rank_sums(tuple(rank[value] for value in pooled), len(x))
    total = math.comb(len(pooled), len(x))
    larger = sum(number for value, number in ways if value >= observed)
    smaller = sum(number for value, number in ways if value <= observed)
    u = Fraction(observed, 2) - Fraction(len(x) * (len(x) + 1), 2)
    return Test(min(1.0, larger / total), min(1.0, smaller / total), float(u / (len(x) * len(y))))


@lru_cache(maxsize=1024)
def rank_sums(ranks: tuple[int, ...], chosen: int) -> tuple[tuple[int, float | int], ...]:
    """Return (sum, number of ways to choose `chosen` of `ranks` with that sum), by counting one rank after the other.

    Raises:
        UsageError: there are more ranks than can be counted in a few seconds.
    """
    if len(ranks) > MOST_VALUES:
        raise UsageError(f"the exact test takes at most {MOST_VALUES} seeds of two networks together, got {len(ranks)}")
    kind = np.int64 if len(ranks) <= EXACT_VALUES else np.float64
    ways: np.ndarray[Any, Any] = np.zeros((chosen + 1, sum(ranks) + 1), dtype=kind)
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, :-rank].copy()
    counts = ways[chosen]
    return tuple((int(value), counts[value].item()) for value in np.flatnonzero(counts))


def superiority_interval(superiority: float, n: int, m: int) -> tuple[float, float]:
    """Return the 95% interval of P(X > Y) + P(X = Y) / 2 from `n` and `m` values.

    Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic. Part 2" (Statistics in
    Medicine 25, 2006), method 5: the values that differ from the estimate by at most z of their own standard errors. The
    interval has a positive length even if the samples do not overlap.
    """
    from scipy.optimize import brentq

    sizes = (superiority, n, m)
    # At an estimate of 0 or 1, the standard error is also 0; the other end is beyond that root.
    inside = min(max(superiority, 1e-9), 1 - 1e-9)
    low = 0.0 if superiority == 0 else float(brentq(_excess, 0.0, inside, args=sizes, xtol=1e-14))
    high = 1.0 if superiority == 1 else float(brentq(_excess, inside, 1.0, args=sizes, xtol=1e-14))
    # The normal quantile uses the C library's logarithm, whose last bits differ between libraries.
    return float(f"{low:.12g}"), float(f"{high:.12g}")


def _excess(theta: float, superiority: float, n: int, m: int) -> float:
    """Return how much farther `theta` is from the estimate than z of its standard errors, as squares."""
    spread = 1 + ((n + m) / 2 - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
    return (theta - superiority) ** 2 - _Z * _Z * theta * (1 - theta) * spread / (n * m)


def ratio_of_medians(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return the median of `x` divided by that of `y`; None if it is infinite or undefined."""
    top, bottom = median(x), median(y)
    if bottom == 0 or math.isinf(top):
        return None
    return top / bottom


def ratio_interval(x: Sequence[float], y: Sequence[float], *, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Return the 95% percentile bootstrap interval of the ratio of medians. An end can be infinite.

    Seeds are drawn with replacement, `x` first, by NumPy's PCG64 from seed 0. A resample with an undefined ratio (never over
    never, 0 over 0) counts as 0 for the lower end and as infinite for the upper end.
    """
    draw = np.random.Generator(np.random.PCG64(BOOTSTRAP_SEED))
    top, bottom = (_medians(values, draw, resamples) for values in (x, y))
    with np.errstate(all="ignore"):
        ratios = top / bottom
    tail = round((1 - CONFIDENCE) / 2 * resamples)
    undefined = np.isnan(ratios)
    low = float(np.sort(np.where(undefined, 0.0, ratios))[tail])
    high = float(np.sort(np.where(undefined, math.inf, ratios))[resamples - 1 - tail])
    return low, high


def _medians(values: Sequence[float], draw: np.random.Generator, resamples: int) -> Float64[np.ndarray, " resamples"]:
    n = len(values)
    drawn = np.sort(np.array(values, dtype=np.float64)[draw.integers(n, size=(resamples, n))], axis=1)
    medians: Float64[np.ndarray, " resamples"] = (drawn[:, (n - 1) // 2] + drawn[:, n // 2]) / 2
    return medians
