"""The power of the test: for numbers of seeds per network, the smallest effect that is decided with a probability of 80%.

Under Holm, the first step is the strictest: it requires ALPHA divided by the number of lines. Values are drawn from normal
distributions of equal spread. A line that says "twice" is simulated where it is exactly true: the medians of two log-normal
distributions have the ratio 2, and the interval of the ratio must contain 2 as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from tmrepro.claims.document import Claims
from tmrepro.claims.exact import rank_sums, ratio_interval
from tmrepro.claims.judge import ALPHA, POWER

SEEDS = tuple(range(4, 13))
SIMULATIONS = 4000
SIMULATION_SEED = 14
INTERVAL_RESAMPLES = 400
LARGEST_SHIFT = 64.0
STEPS = 12  # halvings of a bracket that is a factor of two wide: four digits

Comparison = Literal["larger", "twice"]


@dataclass(frozen=True)
class PowerRow:
    """The smallest effect that is decided with a probability of 80% from `seeds` per network; None if no effect is.

    `shift` is the distance of the two distributions in standard deviations, `superiority` the same as P(X > Y). For "twice",
    they are those of the logarithms, and `spread` is the largest standard deviation of the logarithms at which a ratio of
    exactly 2 is decided.
    """

    comparison: Comparison
    seeds: int
    least_p: float
    shift: float | None
    superiority: float | None
    spread: float | None


def power_table(claims: Claims, *, seeds: Sequence[int] = SEEDS, simulations: int = SIMULATIONS) -> dict[str, Any]:
    """Return the content of power.json: how it was made, the lines of each comparison, and a row per comparison and seeds."""
    lines = claims.lines
    comparisons: tuple[Comparison, ...] = ("larger", "twice")
    return {
        "test": "mann-whitney, exact, one-sided, Holm's first step",
        "alpha": ALPHA,
        "power": POWER,
        "lines": len(lines),
        "simulations": simulations,
        "seed": SIMULATION_SEED,
        "claims": {
            "larger": [line.id for _, line in lines if line.factor == 1],
            "twice": [line.id for _, line in lines if line.factor == 2],
        },
        "rows": [
            asdict(power_row(comparison, seeds=n, lines=len(lines), simulations=simulations))
            for comparison in comparisons
            for n in seeds
        ],
    }


def power_row(comparison: Comparison, *, seeds: int, lines: int, simulations: int = SIMULATIONS) -> PowerRow:
    """Return the smallest effect that `seeds` per network decide among `lines`."""
    least_p = 1 / math.comb(2 * seeds, seeds)
    if least_p * lines > ALPHA:
        return PowerRow(comparison, seeds, least_p, None, None, None)
    draw = np.random.Generator(np.random.Philox(SIMULATION_SEED))
    x, y = draw.standard_normal((2, simulations, seeds))
    high = 0.25
    while _power(comparison, high, x, y, lines=lines) < POWER:
        high *= 2
        if high > LARGEST_SHIFT:
            return PowerRow(comparison, seeds, least_p, None, None, None)
    low = high / 2
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if _power(comparison, middle, x, y, lines=lines) >= POWER else (middle, high)
    return PowerRow(
        comparison,
        seeds,
        least_p,
        shift=round(high, 3),
        superiority=round(NormalDist().cdf(high / math.sqrt(2)), 3),
        spread=round(math.log(2) / high, 3) if comparison == "twice" else None,
    )


def _power(
    comparison: Comparison,
    shift: float,
    x: Float64[np.ndarray, "simulations seeds"],
    y: Float64[np.ndarray, "simulations seeds"],
    *,
    lines: int,
) -> float:
    """Return the share of simulations that are decided if the distance is `shift` standard deviations."""
    wins = np.sum((x + shift)[:, :, None] > y[:, None, :], axis=(1, 2))
    decided = wins >= _least_wins(x.shape[1], lines)
    if comparison == "twice":
        spread = math.log(2) / shift
        for place in np.flatnonzero(decided):
            twice, once = (2 * np.exp(spread * x[place])).tolist(), np.exp(spread * y[place]).tolist()
            decided[place] = ratio_interval(twice, once, resamples=INTERVAL_RESAMPLES)[1] >= 2
    return float(np.mean(decided))


@cache
def _least_wins(seeds: int, lines: int) -> int:
    """Return the least number of the seeds^2 pairs in which the larger network must win."""
    ways = rank_sums(tuple(range(1, 2 * seeds + 1)), seeds)
    total, tail, least = math.comb(2 * seeds, seeds), 0.0, ways[-1][0]
    for value, number in reversed(ways):
        tail += number
        if tail / total * lines > ALPHA:
            break
        least = value
    return least - seeds * (seeds + 1) // 2
