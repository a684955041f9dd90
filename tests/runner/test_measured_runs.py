"""A run whose first evaluator is beyond the bound takes the next one, says so, and does so too after an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tmrepro
from tests.support.recorder import Recorder
from tests.support.runs import untimed
from tests.support.specs import write_spec
from tmrepro.records import loss_bound
from tmrepro.store.surfaces import read_facts
from tmrepro.surface import PlainEvaluator, evaluators

STAGE = "surface/one/norm"
SPEC = """
version: 1
name: small
data: {name: digits, train: 60, validation: 20, size: 8}
models:
  - {name: norm, kind: custom, factory: "tiny_networks:with_batch_norm", arguments: {width: 5}}
training: {batch_size: 20, warmup_steps: 2, max_epochs: 3}
surfaces:
  - {name: one, grid: {K: 4, step: 0.5}, chunk: 2}
compute: {threads: 1}
"""


class Off(PlainEvaluator):
    """Three bounds off everywhere; it is measured once the surface is there."""

    name = "off"
    pointwise = False

    def block(self, a, b):
        loss, accuracy = super().block(a, b)
        for i, value in enumerate(loss):
            loss[i] += [3 * loss_bound(one) for one in value]
        return loss, accuracy


@pytest.fixture(autouse=True)
def _off_comes_first(monkeypatch):
    monkeypatch.setattr(evaluators, "_BY_RULE", (Off,))


@pytest.fixture(scope="module")
def small_spec(tmp_path_factory) -> Path:
    return write_spec(tmp_path_factory.mktemp("spec"), SPEC)


def facts_of(run: Path) -> dict:
    return json.loads((run / "provenance.json").read_text())["stages"][STAGE]["facts"]


def test_the_next_evaluator_is_taken_and_the_run_says_so(small_spec, tmp_path):
    recorder = Recorder()
    run = tmrepro.run(small_spec, out=tmp_path / "run", reporter=recorder).run
    facts = facts_of(run)
    assert facts["evaluator"] == "plain"
    assert facts["evaluator_reason"].startswith("off was 3 times the bound off at (")
    assert facts["evaluator_reason"].endswith("); plain fits everything")
    assert [one["evaluator"] for one in facts["evaluators_rejected"]] == ["off"]
    assert [note for note in recorder.notes if note.startswith("one/norm: off was 3 times the bound off at (")]
    error = read_facts(run, "one", "norm").error
    assert error is not None
    assert error.over_bound is not None
    assert error.over_bound <= 1
    assert tmrepro.open_run(run).statistics["one"]["norm"]["error_over_bound"] == error.over_bound


@pytest.mark.parametrize("chunk", [2, 7], ids=["of the first evaluator", "of the second"])
def test_an_interrupted_run_comes_to_the_same_bytes(small_spec, tmp_path, chunk):
    whole = tmrepro.run(small_spec, out=tmp_path / "whole").run

    class Stops(Recorder):
        def chunk(self, surface, model, *, points_done, points):
            super().chunk(surface, model, points_done=points_done, points=points)
            if len(self.chunks) == chunk:
                raise KeyboardInterrupt

    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        tmrepro.run(small_spec, out=run, reporter=Stops())
    seen = Recorder()
    tmrepro.run(small_spec, out=run, reporter=seen)
    assert untimed(run) == untimed(whole)
    assert facts_of(run) == facts_of(whole)
    assert seen.stages[STAGE][0] == "continues"

    # A chunk that is damaged later is computed by the evaluator that was taken, not by the first one.
    (run / "surfaces.zarr/one/norm/loss/c/1/1").write_bytes(b"damaged")
    tmrepro.run(small_spec, out=run)
    assert untimed(run) == untimed(whole)
    assert facts_of(run) == facts_of(whole)


def test_an_evaluator_that_is_forced_stays_and_the_run_says_how_far_it_is_off(small_spec, tmp_path):
    recorder = Recorder()
    run = tmrepro.run(small_spec, out=tmp_path / "run", evaluator="off", reporter=recorder).run
    error = read_facts(run, "one", "norm").error
    assert error is not None
    assert error.over_bound == pytest.approx(3, abs=0.1)
    assert error.note is not None
    assert error.note.startswith("off, forced by name, is 3")
    assert f"one/norm: {error.note}" in recorder.notes
    assert error.note in (run / "report.html").read_text(encoding="utf-8")
