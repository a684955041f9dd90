"""Which points of a surface an audit evaluates again, and how often that finds a forgery."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import tmrepro
from tests.verification.checks import audit
from tests.verification.forger import Forger
from tmrepro.verification.level_audit import LEAST_POINTS, draw_sample, promise, sample_size

CHUNK = 3  # of the tiny run


def test_one_forged_point_is_found_exactly_when_it_is_in_what_is_evaluated_again(forger: Forger) -> None:
    def forge(loss: np.ndarray, _: np.ndarray) -> None:
        loss[1, 4] += 0.5

    forger.surface("paper", "dnn", forge)
    forger.remeasure()  # else its error would tell, at the points where that is measured
    forger.seal()
    for seed in range(8):
        sample = draw_sample(5, points=16, seed=seed, subject="paper/dnn")
        # The recorded evaluator does their chunks again as a whole.
        again = any((i // CHUNK, j // CHUNK) == (1 // CHUNK, 4 // CHUNK) for i, j in sample)
        assert bool(audit(forger.run, share=0.01, seed=seed)) == again


def test_one_forged_point_is_found_at_the_rate_that_is_stated() -> None:
    K, points, seeds = 21, sample_size(21, share=0.05), 3000
    hits = sum((3, 17) in draw_sample(K, points=points, seed=seed, subject="paper/dnn") for seed in range(seeds))
    stated = 1 - (1 - 1 / K**2) ** points
    spread = 4 * math.sqrt(
        stated * (1 - stated) / seeds
    )  # four deviations: one wrong alarm in 16,000, and the seeds are fixed
    assert hits / seeds == pytest.approx(points / K**2, abs=spread)
    assert hits / seeds >= stated - spread


WIDE = 21


@pytest.fixture(scope="module")
def wide_run(tmp_path_factory: pytest.TempPathFactory, spec_file: Path) -> Path:
    """A run with a surface of WIDE x WIDE points in one chunk, of which 16 are audited, and by the plain evaluator no others."""
    text = spec_file.read_text(encoding="utf-8").replace("K: 5", f"K: {WIDE}").replace("chunk: 3", f"chunk: {WIDE}")
    text = text.replace("  - {name: cnn, kind: cnn, channels: [4, 10]}\n", "").replace("name: tiny", "name: wide")
    folder = tmp_path_factory.mktemp("wide")
    (folder / "wide.yaml").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tmrepro.surface.evaluators._BY_RULE", ())
        return tmrepro.run(folder / "wide.yaml", out=folder / "run").run


def chance_of_finding(forged: int, *, points: int, of: int) -> float:
    """That a sample of so many different points holds a forged one (hypergeometric)."""
    return 1 - math.comb(of - forged, points) / math.comb(of, points)


def chance_of_as_unlikely(found: int, chances: Sequence[float]) -> float:
    """Two-sided p-value of so many successes in independent trials with these chances (Poisson binomial)."""
    counts = np.ones(1)
    for chance in chances:
        counts = np.convolve(counts, [1 - chance, chance])
    return float(min(1.0, 2 * min(counts[: found + 1].sum(), counts[found:].sum())))


@pytest.mark.parametrize(
    ("forgeries", "complete"),
    [pytest.param(40, False, id="40"), pytest.param(200, True, id="200", marks=pytest.mark.soak)],
)
def test_forged_surfaces_are_found_as_often_as_the_audit_says(
    forgeries: int,
    complete: bool,
    wide_run: Path,
    tmp_path: Path,
) -> None:
    """Each forges a random share of a surface's points; in the long form with statistics, figures and manifest to match."""
    random, N, n, subject = np.random.default_rng(11), WIDE * WIDE, LEAST_POINTS, "surfaces.zarr/paper/dnn"
    run = Path(shutil.copytree(wide_run, tmp_path / "forged"))
    forger, honest = Forger(run), tmrepro.open_run(run).surface("paper", "dnn").loss.to_numpy().copy()
    found, chances, stated = [], [], []
    for seed in range(forgeries):
        forged = int(random.integers(1, N // 6))
        points = random.permutation(N)[:forged]

        def forge(loss: np.ndarray, _: np.ndarray, points: np.ndarray = points) -> None:
            loss[:] = honest
            loss.reshape(-1)[points] *= 1 + random.choice([-1, 1], len(points)) * random.uniform(
                0.001, 0.1, len(points)
            )

        forger.surface("paper", "dnn", forge, chunk=WIDE)
        forger.remeasure()
        if complete:
            forger.restate()
            forger.seal()
        if complete and seed % 20 == 0:
            assert tmrepro.verify(run, level="statistics").exit_code == 0
            whole = {check.subject for check in tmrepro.verify(run, seed=seed).checks if not check.passed}
            assert whole == {check.subject for check in audit(run, share=0.01, seed=seed)} <= {subject}
        found.append(subject in {check.subject for check in audit(run, share=0.01, seed=seed)})
        sample = draw_sample(WIDE, points=n, seed=seed, subject="paper/dnn")
        assert found[-1] == any(i * WIDE + j in points for i, j in sample)
        chances.append(chance_of_finding(forged, points=n, of=N))
        stated.append(1 - (1 - forged / N) ** n)
    assert all(chance >= least for chance, least in zip(chances, stated, strict=True))
    p = chance_of_as_unlikely(sum(found), chances)
    sys.stdout.write(
        f"{sum(found)} of {forgeries} forgeries found; expected {sum(chances):.1f} (hypergeometric), "
        f"at least {sum(stated):.1f} (as stated); p = {p:.2f}\n"
    )
    assert p > 1e-4  # two-sided; the seeds are fixed, so this never fails by chance


def test_the_chances_of_a_sample_are_those_of_the_textbooks() -> None:
    assert chance_of_finding(1, points=16, of=441) == pytest.approx(16 / 441)
    assert chance_of_finding(10, points=16, of=441) == pytest.approx(stats.hypergeom.sf(0, 441, 10, 16))
    assert chance_of_as_unlikely(0, [0.3] * 9) == pytest.approx(2 * 0.7**9)
    assert chance_of_as_unlikely(3, [0.5] * 6) == 1
    assert chance_of_as_unlikely(40, [0.5] * 40) < 1e-4


@given(K=st.integers(2, 60), share=st.floats(0.001, 1), seed=st.integers(0, 2**64 - 1))
def test_a_sample_is_of_different_points_of_the_grid(K: int, share: float, seed: int) -> None:
    points = sample_size(K, share=share)
    sample = draw_sample(K, points=points, seed=seed, subject="paper/dnn")
    assert len(set(sample)) == points >= min(K * K, LEAST_POINTS)
    assert points >= share * K * K - 1e-9
    assert all(0 <= i < K and 0 <= j < K for i, j in sample)
    assert sample == draw_sample(K, points=points, seed=seed, subject="paper/dnn")


def test_every_point_is_as_likely_as_any_other_and_surfaces_have_samples_of_their_own() -> None:
    counts = np.zeros((6, 6))
    for seed in range(2000):
        for i, j in draw_sample(6, points=9, seed=seed, subject="paper/dnn"):
            counts[i, j] += 1
    assert np.abs(counts / 2000 - 0.25).max() < 5 * math.sqrt(0.25 * 0.75 / 2000)
    assert draw_sample(30, points=16, seed=1, subject="a/x") != draw_sample(30, points=16, seed=1, subject="a/y")


def test_a_promise_is_the_formula_or_certainty() -> None:
    assert f"{1 - 0.99**27:.1%}" in promise(27, of=2601)
    assert "every forged point is found" in promise(25, of=25)
