"""The committed table of power: of the claims as they are, and the same when it is computed again."""

import json

import numpy as np
import pytest
from scipy import stats

from tmrepro.claims import load_claims
from tmrepro.claims.power import SEEDS, power_row
from tmrepro.spec.shipped import shipped_folder

TABLE = json.loads((shipped_folder() / "paper" / "power.json").read_text(encoding="utf-8"))
ROWS = {(row["comparison"], row["seeds"]): row for row in TABLE["rows"]}


def test_the_table_is_of_the_claims_as_they_are() -> None:
    lines = load_claims().lines
    assert TABLE["lines"] == len(lines)
    assert sorted([*TABLE["claims"]["larger"], *TABLE["claims"]["twice"]]) == sorted(line.id for _, line in lines)
    assert {seeds for _, seeds in ROWS} == set(SEEDS)


@pytest.mark.parametrize(("comparison", "seeds"), [("larger", 5), ("larger", 6), ("twice", 8)])
def test_a_row_computed_again_is_the_same(comparison, seeds) -> None:
    found, stored = power_row(comparison, seeds=seeds, lines=TABLE["lines"]), ROWS[comparison, seeds]
    assert found.least_p == stored["least_p"]
    for name in ("shift", "superiority", "spread"):
        # Normals differ in their last bit by C library, which can move one simulation over the edge: a thousandth.
        assert getattr(found, name) == (None if stored[name] is None else pytest.approx(stored[name], abs=0.002))


def test_other_draws_and_scipys_test_decide_the_stored_effect_with_80_percent() -> None:
    row, draw = ROWS["larger", 8], np.random.Generator(np.random.PCG64(99))
    x, y = draw.standard_normal((2000, 8)) + row["shift"], draw.standard_normal((2000, 8))
    p = stats.mannwhitneyu(x, y, alternative="greater", method="exact", axis=1).pvalue
    assert np.mean(p * TABLE["lines"] <= TABLE["alpha"]) == pytest.approx(TABLE["power"], abs=0.04)
