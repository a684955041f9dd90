"""The rule of judgement on invented seeds: known orders, no effect, ties, never reached, and what cannot be tested."""

import math

import numpy as np
import pytest
from scipy import stats

from tmrepro.claims import Claim, Sample, judge_setting, load_claims
from tmrepro.claims.document import ClaimLine
from tmrepro.claims.exact import mann_whitney, ratio_interval, superiority_interval
from tmrepro.claims.judge import holm, least_seeds, seeds_needed

NEVER = math.inf
LINES = load_claims().lines


def sample(*values: float | None) -> Sample:
    return Sample(dict(enumerate(values)))


def lines(count: int, *, factor: float = 1.0) -> list[tuple[Claim, ClaimLine]]:
    found = tuple(
        ClaimLine(id=f"X.{n}", sentence="-", statistic="roughness", larger="dnn", smaller="cnn", factor=factor)
        for n in range(count)
    )
    claim = Claim(id="X", section="0", sentence="-", lines=found)
    return [(claim, line) for line in found]


def test_p_is_that_of_scipy_where_there_are_no_ties() -> None:
    draw = np.random.Generator(np.random.PCG64(1))
    for n, m in [(2, 3), (6, 6), (4, 9), (12, 12), (1, 8), (40, 40)]:
        x, y = [draw.random() + 0.3 for _ in range(n)], [draw.random() for _ in range(m)]
        found = mann_whitney(x, y)
        theirs = stats.mannwhitneyu(x, y, alternative="greater", method="exact")
        assert found.p_larger == pytest.approx(theirs.pvalue, rel=1e-12)
        assert found.p_smaller == pytest.approx(
            stats.mannwhitneyu(x, y, alternative="less", method="exact").pvalue, rel=1e-12
        )
        assert found.superiority == pytest.approx(theirs.statistic / (n * m), rel=1e-12)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([3, 3, 5, NEVER, NEVER, 2], [1, 3, 2, 5, NEVER, 1]),
        ([NEVER] * 6, [1, 2, 3, 4, 5, 6]),
        ([7, 7, 7, 7], [7, 7, 7]),
        ([1, 1, 2, 2, 3, 3, 9, 9], [0, 1, 1, 2, 2, 2, 3, 3]),
    ],
)
def test_with_ties_p_is_that_of_all_assignments(x: list[float], y: list[float]) -> None:
    x, y = [float(value) for value in x], [float(value) for value in y]
    ranks = stats.rankdata([*x, *y])
    theirs = stats.permutation_test(
        (ranks[: len(x)], ranks[len(x) :]),
        lambda one, _, axis: np.sum(one, axis=axis),
        vectorized=True,
        n_resamples=np.inf,
        alternative="greater",
    )
    assert mann_whitney(x, y).p_larger == pytest.approx(theirs.pvalue, rel=1e-12)


def test_known_order_is_reproduced_and_its_opposite_contradicted() -> None:
    low, high = sample(1, 2, 3, 4, 5, 6), sample(10, 20, 30, 40, 50, 60)
    count = len(LINES)
    found = judge_setting(lines(count), [(high, low)] * count)
    assert {line.verdict for line in found} == {"reproduced"}
    opposite = judge_setting(lines(count), [(low, high)] * count)
    assert {line.verdict for line in opposite} == {"contradicted"}
    assert opposite[0].p_opposite_adjusted == pytest.approx(count / math.comb(12, 6))
    assert (found[0].deciding_p, opposite[0].deciding_p) == (found[0].p_adjusted, opposite[0].p_opposite_adjusted)


def test_five_seeds_a_side_are_too_few_for_all_lines_and_the_number_that_would_do_is_said() -> None:
    low, high = sample(1, 2, 3, 4, 5), sample(6, 7, 8, 9, 10)
    line = judge_setting(lines(43), [(high, low)] * 43)[0]
    assert (line.verdict, line.p_adjusted) == ("inconclusive", pytest.approx(43 / 252))
    assert line.seeds_needed is not None
    assert line.seeds_needed > 5
    assert least_seeds(43) == 6


def test_twice_asks_for_the_ratio_too() -> None:
    base = sample(10, 11, 12, 13, 14, 15)
    more, twice = sample(16, 17, 18, 19, 20, 21), sample(21, 22, 24, 26, 28, 29)
    (short,) = judge_setting(lines(1, factor=2), [(more, base)])
    assert short.p_adjusted is not None
    assert short.p_adjusted <= 0.05
    assert (short.verdict, short.seeds_needed) == ("inconclusive", None)
    assert "less than 2 times" in short.reason
    (enough,) = judge_setting(lines(1, factor=2), [(twice, base)])
    assert enough.verdict == "reproduced"
    assert enough.ratio_interval is not None
    assert enough.ratio_interval[0] <= 2 <= enough.ratio_interval[1]
    assert judge_setting(lines(1), [(more, base)])[0].verdict == "reproduced"


def test_never_reached_is_later_than_any_that_was_and_ties_with_itself() -> None:
    reached, never = sample(1, 2, 3, 4, 5, 6), sample(*[None] * 6)
    (late,) = judge_setting(lines(1, factor=2), [(never, reached)])
    assert (late.verdict, late.superiority, late.ratio) == ("reproduced", 1.0, None)
    assert late.ratio_interval == (None, None)
    (both,) = judge_setting(lines(1, factor=2), [(never, never)])
    assert (both.verdict, both.p, both.superiority, both.seeds_needed) == ("inconclusive", 1.0, 0.5, None)
    (early,) = judge_setting(lines(1, factor=2), [(reached, never)])
    assert (early.verdict, early.ratio) == ("contradicted", 0.0)
    (half,) = judge_setting(lines(1), [(sample(9, None), sample(9, 5))])
    assert half.values == {"dnn": {"0": 9, "1": None}, "cnn": {"0": 9, "1": 5}}
    assert half.superiority == 3.5 / 4


def test_what_cannot_be_tested_is_inconclusive_in_words_and_counts_for_nothing_in_holm() -> None:
    good = (sample(7, 8, 9, 10), sample(1, 2, 3, 4))
    missing = (Sample(missing="the spec has no network dnn"), sample(1, 2))
    lone = (sample(1), sample(2, 3))
    empty = (Sample(left_out={0: "collapsed", 1: "collapsed"}), sample(2, 3))
    found = judge_setting(lines(4), [good, missing, lone, empty])
    assert found[0].p_adjusted == found[0].p == pytest.approx(1 / 70)
    assert [line.verdict for line in found] == ["reproduced", *["inconclusive"] * 3]
    assert [line.p for line in found[1:]] == [None] * 3
    assert found[1].reason == "the spec has no network dnn"
    assert found[2].reason.startswith("one seed of dnn")
    assert found[3].reason == "no seed of dnn has a value (collapsed)"
    assert [line.seeds_needed for line in found[1:]] == [None, least_seeds(4), None]


def test_holm_is_that_of_a_second_implementation() -> None:
    def second(values: list[float]) -> list[float]:
        """Step down by the definition: the largest of (number of p that are no less) x p over the p that are no more."""
        order = np.argsort(values, kind="stable")
        steps = [min(1.0, (len(values) - rank) * values[place]) for rank, place in enumerate(order)]
        by_place = dict(zip(order.tolist(), np.maximum.accumulate(steps).tolist(), strict=True))
        return [by_place[place] for place in range(len(values))]

    draw = np.random.Generator(np.random.PCG64(3))
    for _ in range(50):
        values = [round(draw.random() ** 4, 2) for _ in range(12)]
        assert holm(values) == pytest.approx(second(values), rel=1e-15)
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])


@pytest.mark.slow
def test_without_an_effect_a_verdict_is_false_in_at_most_one_setting_of_twenty() -> None:
    draw = np.random.Generator(np.random.PCG64(0))
    wrong = {"reproduced": 0, "contradicted": 0}
    names = sorted({(line.statistic, network) for _, line in LINES for network in (line.larger, line.smaller)})
    for _ in range(1000):
        values = np.exp(0.3 * draw.standard_normal((len(names), 6))).tolist()
        samples = {name: sample(*seeds) for name, seeds in zip(names, values, strict=True)}
        both = [(samples[line.statistic, line.larger], samples[line.statistic, line.smaller]) for _, line in LINES]
        found = judge_setting(LINES, both, resamples=40)
        for verdict in wrong:
            wrong[verdict] += any(line.verdict == verdict for line in found)
    assert 0 < wrong["reproduced"] <= 50
    assert 0 < wrong["contradicted"] <= 50


def test_intervals_cover_what_they_should() -> None:
    # Newcombe's method 5 is approximate: with 8 values a side and a shift of one deviation it must not fall below 90%.
    draw = np.random.Generator(np.random.PCG64(5))
    truth, covered, ratios = stats.norm.cdf(1 / math.sqrt(2)), 0, 0
    for _ in range(400):
        x, y = draw.standard_normal(8) + 1, draw.standard_normal(8)
        low, high = superiority_interval(mann_whitney(x.tolist(), y.tolist()).superiority, 8, 8)
        covered += low <= truth <= high
        low, high = ratio_interval((2 * np.exp(0.3 * x)).tolist(), np.exp(0.3 * y).tolist(), resamples=400)
        ratios += low <= 2 * math.exp(0.3) <= high
    assert covered >= 0.9 * 400
    assert ratios >= 0.85 * 400  # percentile bootstrap of a median of 8


def test_an_interval_keeps_its_length_where_the_samples_do_not_overlap() -> None:
    low, high = superiority_interval(1.0, 6, 6)
    assert high == 1
    # The definition, solved by hand: 1 - theta = z^2 theta (1 + 5 ((1 - theta) / (2 - theta) + theta / (1 + theta))) / 36.
    spread = 1 + 5 * ((1 - low) / (2 - low) + low / (1 + low))
    assert 1 - low == pytest.approx(stats.norm.ppf(0.975) ** 2 * low * spread / 36, rel=1e-9)
    assert low == pytest.approx(0.689, abs=0.001)
    assert superiority_interval(0.0, 6, 6) == pytest.approx((0, 1 - low))
    assert superiority_interval(0.75, 6, 4)[0] < 0.75 < superiority_interval(0.75, 6, 4)[1]


def test_the_number_of_seeds_needed_decides_with_about_80_percent() -> None:
    draw = np.random.Generator(np.random.PCG64(6))
    for shift in (1.2, 2.0):
        needed = seeds_needed(float(stats.norm.cdf(shift / math.sqrt(2))), tests=43)
        assert needed is not None
        x, y = draw.standard_normal((600, needed)) + shift, draw.standard_normal((600, needed))
        p = np.array([mann_whitney(one.tolist(), other.tolist()).p_larger for one, other in zip(x, y, strict=True)])
        assert 0.7 <= np.mean(p <= 0.05 / 43) <= 0.95
    assert seeds_needed(0.5, tests=43) is None
    assert seeds_needed(0.2, tests=43) == seeds_needed(0.8, tests=43)
