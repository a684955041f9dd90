"""The complete rule of judgement. docs/explanation/claims.md explains it.

The unit is a training seed. Each line of a setting is tested by the exact one-sided Mann-Whitney test, as claimed and in the
opposite direction. Each direction has its own Holm correction over all lines of the setting that have a test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import NormalDist, median
from typing import Any, Literal, get_args

from tmrepro.claims.document import Claim, ClaimLine
from tmrepro.claims.exact import (
    RESAMPLES,
    Test,
    mann_whitney,
    ratio_interval,
    ratio_of_medians,
    superiority_interval,
)

ALPHA = 0.05
POWER = 0.8
MOST_SEEDS = 2**31
TEST = "mann-whitney, exact, one-sided"
_NORMAL = NormalDist()

Verdict = Literal["reproduced", "contradicted", "inconclusive"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class Sample:
    """The values of one network for a line, by training seed; None for never reached.

    `left_out` gives the reason why another seed has no value, `missing` the reason why there is no value at all.
    """

    values: Mapping[int, float | int | None] = field(default_factory=dict)
    left_out: Mapping[int, str] = field(default_factory=dict)
    missing: str | None = None

    @property
    def numbers(self) -> tuple[float, ...]:
        """Return the values by seed; infinite for never reached."""
        return tuple(math.inf if value is None else float(value) for _, value in sorted(self.values.items()))


@dataclass(frozen=True)
class Line:
    """A judged line. The fields are those of `tmrepro claims --json`, in their order.

    `p` is that of the test as claimed, `p_opposite` that of the test in the opposite direction. `ratio` is null if it is infinite
    or undefined. An end of `ratio_interval` is null if it is infinite.
    """

    id: str
    section: str
    sentence: str
    statistic: str
    larger: str
    smaller: str
    factor: float | int
    values: dict[str, dict[str, float | int | None]]
    left_out: dict[str, dict[str, str]]
    test: str
    p: float | None
    p_adjusted: float | None
    p_opposite: float | None
    p_opposite_adjusted: float | None
    superiority: float | None
    superiority_interval: tuple[float, float] | None
    ratio: float | None
    ratio_interval: tuple[float | None, float | None] | None
    verdict: Verdict
    reason: str
    seeds_needed: int | None

    @property
    def comparison(self) -> str:
        """The claim: "dnn > resnet50", or "dnn > 2 x resnet50"."""
        return f"{self.larger} > {'' if self.factor == 1 else f'{self.factor:g} x '}{self.smaller}"

    @property
    def medians(self) -> tuple[float | None, float | None]:
        """The medians over seeds of the larger and of the smaller network: infinite for never, None without a value."""
        larger, smaller = (
            [math.inf if value is None else float(value) for value in self.values[name].values()]
            for name in (self.larger, self.smaller)
        )
        return (median(larger) if larger else None), (median(smaller) if smaller else None)

    @property
    def deciding_p(self) -> float | None:
        """The adjusted p of the test that decided: that in the opposite direction if the claim is contradicted."""
        return self.p_opposite_adjusted if self.verdict == "contradicted" else self.p_adjusted

    def document(self) -> dict[str, Any]:
        """Return the line as JSON values."""
        return asdict(self)


def judge_setting(
    lines: Sequence[tuple[Claim, ClaimLine]],
    samples: Sequence[tuple[Sample, Sample]],
    *,
    resamples: int = RESAMPLES,
) -> tuple[Line, ...]:
    """Judge all lines of one setting. `samples` has those of the larger and of the smaller network for each line."""
    untested = [_no_test(line, *both) for (_, line), both in zip(lines, samples, strict=True)]
    tests = [
        mann_whitney(larger.numbers, smaller.numbers) if why is None else None
        for (larger, smaller), why in zip(samples, untested, strict=True)
    ]
    as_claimed = holm([None if test is None else test.p_larger for test in tests])
    other_way = holm([None if test is None else test.p_smaller for test in tests])
    count = sum(test is not None for test in tests)
    return tuple(
        _untested(claim, line, both, why or "", lines=len(lines))
        if test is None or p is None or q is None
        else _judged(claim, line, both, test, adjusted=(p, q), tests=count, resamples=resamples)
        for (claim, line), both, why, test, p, q in zip(
            lines, samples, untested, tests, as_claimed, other_way, strict=True
        )
    )


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's adjusted p (Scandinavian Journal of Statistics 6, 1979) of each value. None stays None and is not counted."""
    known = sorted((value, place) for place, value in enumerate(values) if value is not None)
    adjusted: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, (value, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * value))
        adjusted[place] = largest
    return adjusted


def least_seeds(tests: int) -> int:
    """Return the least number of seeds per network at which an effect can be decided among `tests` tests."""
    n = 2
    while tests / math.comb(2 * n, n) > ALPHA:
        n += 1
    return n


def seeds_needed(superiority: float, *, tests: int) -> int | None:
    """Return the seeds per network that decide an effect with a probability of 80% among `tests` tests; None if no number does.

    This is a normal approximation. The effect is P(X > Y) + P(X = Y) / 2. Without an effect, U / n^2 has the variance
    (2n + 1) / (12 n^2). With one, it has that of Hanley and McNeil (Radiology 143, 1982).
    """
    if superiority == 0.5:
        return None
    z_test = _NORMAL.inv_cdf(1 - ALPHA / tests)
    low = high = least_seeds(tests)
    while not _decides(high, superiority, z_test):
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _decides(middle, superiority, z_test) else (middle + 1, high)
    return high


def _decides(n: int, superiority: float, z_test: float) -> bool:
    without = math.sqrt((2 * n + 1) / 12) / n
    spread = 1 + (n - 1) * ((1 - superiority) / (2 - superiority) + superiority / (1 + superiority))
    within = math.sqrt(superiority * (1 - superiority) * spread) / n
    return z_test * without + _NORMAL.inv_cdf(POWER) * within <= abs(superiority - 0.5)


def _no_test(line: ClaimLine, larger: Sample, smaller: Sample) -> str | None:
    """Return why the two networks cannot be compared; None if they can."""
    for name, sample in ((line.larger, larger), (line.smaller, smaller)):
        if sample.missing is not None:
            return sample.missing
        if not sample.values:
            why = next(iter(sample.left_out.values()), "no value")
            return f"no seed of {name} has a value ({why})"
        if len(sample.values) == 1:
            also = f"; {len(sample.left_out)} left out" if sample.left_out else ""
            return f"one seed of {name}{also}: a test over seeds needs several on either side"
    return None


def _judged(
    claim: Claim,
    line: ClaimLine,
    both: tuple[Sample, Sample],
    test: Test,
    *,
    adjusted: tuple[float, float],
    tests: int,
    resamples: int,
) -> Line:
    x, y = (sample.numbers for sample in both)
    low, high = ratio_interval(x, y, resamples=resamples)
    needed, verdict, reason = None, _verdict(adjusted, high=high, factor=line.factor), ""
    if verdict == "inconclusive":
        if line.factor > 1 and test.superiority > 0.5 and high < line.factor:
            reason = f"larger as claimed, but less than {line.factor:g} times: the interval of the ratio lies below"
        else:
            needed = seeds_needed(test.superiority, tests=tests)
            reason = "the seeds do not decide" if needed is not None else "the seeds show no difference"
    interval = superiority_interval(test.superiority, len(x), len(y))
    return _line(
        claim, line, both,
        p=test.p_larger, p_adjusted=adjusted[0], p_opposite=test.p_smaller, p_opposite_adjusted=adjusted[1],
        superiority=test.superiority, superiority_interval=interval,
        ratio=ratio_of_medians(x, y), ratio_interval=(_finite(low), _finite(high)),
        verdict=verdict, reason=reason, seeds_needed=needed,
    )  # fmt: skip


def _verdict(adjusted: tuple[float, float], *, high: float, factor: float) -> Verdict:
    """Return the verdict. `high` is the upper end of the ratio's interval; the ratio is too small if `high` is below `factor`."""
    if adjusted[0] <= ALPHA and (factor == 1 or high >= factor):
        return "reproduced"
    return "contradicted" if adjusted[1] <= ALPHA else "inconclusive"


def _untested(claim: Claim, line: ClaimLine, both: tuple[Sample, Sample], why: str, *, lines: int) -> Line:
    """Return a line without a test. If it only lacks seeds, include the least number that can decide anything."""
    lacks_seeds = all(sample.values for sample in both)
    return _line(
        claim, line, both,
        p=None, p_adjusted=None, p_opposite=None, p_opposite_adjusted=None, superiority=None, superiority_interval=None,
        ratio=None, ratio_interval=None, verdict="inconclusive", reason=why,
        seeds_needed=least_seeds(lines) if lacks_seeds else None,
    )  # fmt: skip


def _line(claim: Claim, line: ClaimLine, both: tuple[Sample, Sample], **judged: Any) -> Line:
    networks = dict(zip((line.larger, line.smaller), both, strict=True))
    return Line(
        id=line.id,
        section=claim.section,
        sentence=line.sentence,
        statistic=line.statistic,
        larger=line.larger,
        smaller=line.smaller,
        factor=int(line.factor) if line.factor.is_integer() else line.factor,
        values={name: {str(seed): value for seed, value in sorted(s.values.items())} for name, s in networks.items()},
        left_out={name: {str(seed): why for seed, why in sorted(s.left_out.items())} for name, s in networks.items()},
        test=TEST,
        **judged,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
