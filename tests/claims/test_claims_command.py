"""`tmrepro claims`: values from folders, verdicts as JSON, text and a page; every p computed again with scipy alone."""

from __future__ import annotations

import json
import math
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.support.commands import run_tmrepro
from tmrepro.claims import judge_folders
from tmrepro.errors import UsageError
from tmrepro.reporting.report import render_claims

PLACE = {"resnet50": 0, "cnn": 1, "dnn": 2}
SMALLER_FOR_RESNET = ("roughness", "slope_at_minimum", "sharpness_0.25", "axis_asymmetry")
LARGER_FOR_RESNET = ("convex_fraction", "low_loss_fraction_0.5", "half_rise_radius")


def as_claimed(base: str, seed: int, _pair: int = 0, *, reverse: bool = False) -> dict[str, Any]:
    """Every number in the order that the paper claims, "twice" included; or in the opposite order."""
    place = 2 - PLACE[base] if reverse else PLACE[base]
    rise, part = 10.0**place * (1 + seed / 100), seed / 1000
    lm, gm = round(3**place * 4 + seed / 5), round(3**place * 6 + seed / 5)
    found = dict.fromkeys(SMALLER_FOR_RESNET, rise) | dict.fromkeys(LARGER_FOR_RESNET, 1 / rise)
    return found | {
        "lm_first_epoch": 20, "lm_first_seconds": float(lm) + part, "gm_first_epoch": 20 + gm,
        "gm_first_seconds": 3.0**place + part, "validation_accuracy": 0.9 - 0.2 * place + part,
        "relabelled_loss": rise / 1000, "train_loss_at_lm": rise,
    }  # fmt: skip


def claims(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `tmrepro claims ARGUMENTS` in a process of its own."""
    return run_tmrepro("claims", *arguments)


def judged(*folders: Path) -> dict[str, Any]:
    """Return what `tmrepro claims FOLDERS --json` prints."""
    return json.loads(judge_folders(folders).text())


def by_id(found: dict[str, Any], setting: str = "paper") -> dict[str, dict[str, Any]]:
    return {line["id"]: line for line in found["settings"][setting]}


def p_of_scipy(line: dict[str, Any]) -> float:
    x, y = (
        [math.inf if value is None else value for value in line["values"][line[side]].values()]
        for side in ("larger", "smaller")
    )
    if len({*x, *y}) == len(x) + len(y):
        return float(stats.mannwhitneyu(x, y, alternative="greater", method="exact").pvalue)
    ranks = stats.rankdata([*x, *y])
    return float(
        stats.permutation_test(
            (ranks[: len(x)], ranks[len(x) :]),
            lambda one, _, axis: one.sum(axis=axis),
            vectorized=True,
            n_resamples=np.inf,
            alternative="greater",
        ).pvalue
    )


def check_again(found: dict[str, Any]) -> None:
    """Recompute every p, adjusted p and verdict from the values."""
    for lines in found["settings"].values():
        tested = [line for line in lines if line["p"] is not None]
        again = [p_of_scipy(line) for line in tested]
        assert [line["p"] for line in tested] == pytest.approx(again, rel=1e-9)
        for index, line in enumerate(tested):
            # Holm: the largest, over the p that are no larger than this one, of p times the number of p that are no smaller.
            steps = [p * sum(other >= p - 1e-12 for other in again) for p in again if p <= again[index] + 1e-12]
            assert line["p_adjusted"] == pytest.approx(min(1.0, max(steps)), rel=1e-9)
            high = line["ratio_interval"][1]
            held = line["factor"] == 1 or high is None or high >= line["factor"]
            expected = "reproduced" if line["p_adjusted"] <= 0.05 and held else "inconclusive"
            expected = "contradicted" if line["p_opposite_adjusted"] <= 0.05 else expected
            assert line["verdict"] == expected


def test_a_known_order_is_reproduced_and_its_opposite_contradicted(invent):
    found = judged(invent(as_claimed))
    check_again(found)
    lines = by_id(found)
    for name in ("C1.roughness", "C1.convexity.cnn", "C2.asymmetry", "C3.narrowness", "C5.seconds", "C7.tm_accuracy"):
        assert lines[name]["verdict"] == "reproduced", name
    assert lines["C1.roughness"]["p"] == pytest.approx(1 / 924)
    assert lines["C9.loss"]["verdict"] == "reproduced"
    opposite = judged(invent(lambda *at: as_claimed(*at, reverse=True), name="opposite"))
    check_again(opposite)
    for name in ("C1.roughness", "C3.width", "C4.seconds.cnn", "C5.seconds", "C7.tm_loss.dnn", "C9.loss.cnn"):
        assert by_id(opposite)[name]["verdict"] == "contradicted", name


def test_a_line_has_the_fields_of_the_contract(invent):
    found = judged(invent(as_claimed))
    assert set(found) >= {"settings", "spec_hash", "data"}
    assert set(found["settings"]) == {"paper", "filter"}
    assert found["data"]["fingerprint"] == "00"
    line = by_id(found)["C5.seconds"]
    assert set(line) >= {
        "id", "section", "sentence", "statistic", "larger", "smaller", "factor", "values", "test", "p", "p_adjusted",
        "superiority", "superiority_interval", "ratio", "ratio_interval", "verdict", "seeds_needed",
    }  # fmt: skip
    assert (line["factor"], line["larger"], line["smaller"]) == (2, "dnn", "resnet50")
    assert line["values"]["dnn"] == {str(seed): pytest.approx(9 + seed / 1000) for seed in range(6)}
    assert line["test"] == "mann-whitney, exact, one-sided"
    statement = found["statements"]["C0"]
    assert "leaves the parameters as they are" in statement["by_construction"]
    assert statement["measured"]["validation_accuracy"]["dnn"]["3"] == pytest.approx(0.503)
    assert set(found["statements"]["C8"]["measured"]["slope_at_minimum"]) == {"paper", "filter"}


def test_direction_pairs_are_one_value_by_their_median(invent):
    def values(_base: str, seed: int, pair: int) -> dict[str, Any]:
        return {"roughness": (1.0, 7.0, 100.0)[pair] + seed, "half_rise_radius": (None, 3.0, 5.0)[pair]}

    lines = by_id(judged(invent(values, directions=3)))
    assert lines["C1.roughness"]["values"]["dnn"] == {str(seed): 7.0 + seed for seed in range(6)}
    assert lines["C3.gradual"]["values"]["dnn"]["0"] == 4.0


def test_collapsed_and_diverged_networks_never_reached_anything_and_have_no_surface(invent):
    def values(base: str, seed: int, _pair: int) -> dict[str, Any]:
        failed = {1: "collapsed", 2: "diverged"}.get(seed) if base == "dnn" else None
        return {"category": failed or "TM", "lm_first_epoch": 20, "gm_first_epoch": 21 + seed}

    found = judged(invent(values))
    check_again(found)
    lines = by_id(found)
    assert lines["C4.epochs"]["values"]["dnn"] == {"0": 20, "1": None, "2": None, "3": 20, "4": 20, "5": 20}
    assert lines["C9.descent"]["values"]["dnn"] == {"0": 1, "1": None, "2": None, "3": 4, "4": 5, "5": 6}
    assert list(lines["C1.roughness"]["values"]["dnn"]) == ["0", "3", "4", "5"]
    assert lines["C1.roughness"]["left_out"]["dnn"] == {"1": "collapsed", "2": "diverged"}
    assert list(lines["C7.tm_accuracy.dnn"]["values"]["dnn"]) == ["0", "3", "4", "5"]
    # No network reached a validation loss about zero: all tie, and no number of seeds would tell them apart.
    validation = lines["C5.validation_epochs"]
    assert set(validation["values"]["resnet50"].values()) == {None}
    assert (validation["p"], validation["superiority"], validation["seeds_needed"]) == (1.0, 0.5, None)


def test_a_missing_network_is_inconclusive_in_words(invent, spec_text):
    without = re.sub(r"  - {{name: cnn.*\n", "", spec_text)
    found = judged(invent(as_claimed, spec=without))
    check_again(found)
    lines = by_id(found)
    assert lines["C1.roughness"]["verdict"] == "reproduced"
    line = lines["C1.roughness.cnn"]
    assert (line["verdict"], line["p"], line["seeds_needed"]) == ("inconclusive", None, None)
    assert line["reason"] == "the spec has no network cnn"
    assert line["values"] == {"cnn": {}, "resnet50": {str(seed): 1 + seed / 100 for seed in range(6)}}


def test_a_surface_that_is_not_drawn_around_a_network(invent, spec_text):
    partly = spec_text.replace("{{name: filter,", "{{name: filter, models: [dnn, resnet50],")
    found = judged(invent(as_claimed, spec=partly))
    assert by_id(found, "filter")["C2.sharpness.cnn"]["reason"] == "surface filter is not drawn around cnn"
    assert by_id(found, "filter")["C2.sharpness"]["verdict"] == "reproduced"
    assert by_id(found)["C2.sharpness.cnn"]["p"] is not None


def test_a_statistic_that_is_undefined_everywhere_is_inconclusive(invent):
    lines = by_id(judged(invent(lambda *_: {"half_rise_radius": None})))
    assert lines["C3.gradual"]["reason"] == "no seed of resnet50 has a value (undefined)"
    assert lines["C3.gradual"]["p"] is None


def test_one_seed_decides_nothing_and_is_one_sentence(invent):
    folder = invent(as_claimed, training=1)
    found = judged(folder)
    for line in by_id(found).values():
        assert (line["verdict"], line["p"], line["seeds_needed"]) == ("inconclusive", None, 6)
        assert line["reason"].startswith("one seed of ")
    words = claims(folder).stdout
    assert "not judged: there is one training seed" in words
    assert "replicates: {training: 6}" in words
    assert "C1.roughness" not in words


def test_runs_of_one_spec_are_judged_together(invent):
    both = judged(invent(as_claimed, training=3, name="a"), invent(as_claimed, training=4, seed=3, name="b"))
    whole = judged(invent(as_claimed, training=7, name="whole"))
    assert both["settings"] == whole["settings"]
    assert len(both["spec_hashes"]) == 2


def test_runs_that_are_not_of_one_spec_are_refused_by_the_field(invent, spec_text):
    first = invent(as_claimed, training=2, name="a")
    other = invent(as_claimed, training=2, seed=2, name="b", spec=spec_text.replace("batch_size: 20", "batch_size: 30"))
    done = claims(first, other)
    assert done.returncode == 2
    assert "training.batch_size: 20 here, 30 there" in done.stderr
    twice = claims(first, invent(as_claimed, training=2, seed=1, name="c"))
    assert twice.returncode == 2
    assert "training seed 1 of dnn is also in" in twice.stderr
    assert "Traceback" not in done.stderr + twice.stderr


def test_what_is_no_run_or_damaged_is_refused_with_3(invent, tmp_path):
    done = claims(tmp_path / "nowhere")
    assert (done.returncode, "not a run or a reference" in done.stderr) == (3, True)
    folder = invent(as_claimed)
    path = folder / "statistics.json"
    path.write_text(path.read_text(encoding="utf-8").replace("1.0", "1.5", 1), encoding="utf-8")
    done = claims(folder, "--json")
    assert (done.returncode, done.stdout) == (3, "")
    assert "statistics.json" in done.stderr


def test_claims_of_ones_own_are_judged_and_wrong_ones_refused_with_their_line(invent, tmp_path):
    own, folder = tmp_path / "own.yaml", invent(as_claimed)
    line = "{id: X.a, sentence: Rougher., statistic: roughness, larger: dnn, smaller: cnn}"
    text = f'version: 1\nclaims:\n  - id: X\n    section: "1"\n    sentence: One.\n    lines:\n      - {line}\n'
    own.write_text(text, encoding="utf-8")
    done = claims(folder, "--claims", own)
    assert (done.returncode, done.stdout.count("reproduced")) == (0, 4), done.stderr  # a row and a count, two settings
    own.write_text(text.replace("roughness", "prettiness"), encoding="utf-8")
    wrong = claims(folder, "--claims", own)
    assert wrong.returncode == 2
    assert f"{own}:7:" in wrong.stderr
    assert "unknown statistic 'prettiness'" in wrong.stderr


def test_the_table_names_every_line_and_the_page_too(invent, tmp_path):
    folder, page = invent(as_claimed), tmp_path / "pages" / "claims.html"
    done = claims(folder, "--html", page)
    assert done.returncode == 0, done.stderr
    for line in ("C1.roughness", "C5.validation_seconds.cnn", "C9.loss"):
        assert line in done.stdout
        assert line in page.read_text(encoding="utf-8")
    assert "C0 has no test. By construction:" in done.stdout
    assert re.search(r"paper: \d+ reproduced, \d+ inconclusive", done.stdout)
    assert json.loads(claims(folder, "--json").stdout) == judged(folder)
    inside = claims(folder, "--html", folder / "claims.html")
    assert inside.returncode == 2
    assert not (folder / "claims.html").exists()


def test_what_stands_on_the_page_is_escaped(invent):
    folder = invent(as_claimed, training=2)
    judged = judge_folders([folder])
    judged.data["name"] = "<script>alert(1)</script>"
    page = render_claims(judged)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_more_seeds_than_can_be_counted_exactly_are_refused(invent):
    with pytest.raises(UsageError, match="at most 128 seeds of two networks together, got 130"):
        judge_folders([invent(as_claimed, training=65)])
