"""--only computes parts of a run in folders of their own; --reuse makes one run of them, with the same bytes."""

from __future__ import annotations

import pytest

import tmrepro
from tests.runner.specs import TINY_SPEC
from tests.support.recorder import Recorder
from tests.support.runs import untimed
from tests.support.specs import write_spec
from tmrepro.errors import CollapsedError, UsageError
from tmrepro.store.stages import StageBook

REPLICATED = "replicates: {training: 2}\ncompute:"


@pytest.mark.slow
def test_parts_make_the_same_run_as_one_command(tmp_path):
    spec = write_spec(tmp_path, TINY_SPEC, ("compute:", REPLICATED))
    first = tmrepro.run(spec, out=tmp_path / "first", only=["dnn", "cnn.r1", "norm"])
    assert set(first.minima) == {"dnn", "cnn.r1", "norm"}
    assert first.missing == ("dnn.r1", "cnn", "norm.r1")
    assert not (first.run / "manifest-sha256.txt").exists()
    tmrepro.run(spec, out=tmp_path / "second", only=["dnn.r1", "norm.r1"])
    seen = Recorder()
    run = tmrepro.run(spec, out=tmp_path / "run", reuse=[tmp_path / "first", tmp_path / "second"], reporter=seen)
    assert run.missing == ()
    assert {name for name in seen.names("runs") if name.startswith(("training", "surface"))} == {
        "training/cnn",
        "surface/one/cnn",
    }
    assert "no folder named by --reuse has such a stage" in seen.stages["training/cnn"][1]
    whole = tmrepro.run(spec, out=tmp_path / "whole")
    assert untimed(run.run) == untimed(whole.run)


def test_a_part_is_completed_in_its_own_folder(tmp_path):
    spec = write_spec(tmp_path, TINY_SPEC)
    tmrepro.run(spec, out=tmp_path / "run", only=["dnn"])
    recorder = Recorder()
    again = tmrepro.run(spec, out=tmp_path / "run", only=["dnn", "cnn"], reporter=recorder)
    assert again.missing == ("norm",)
    assert recorder.stages["training/dnn"][0] == "done"
    assert recorder.stages["training/cnn"][0] == "runs"
    assert StageBook(again.run).get("surface/one/cnn") is not None


def test_a_network_that_is_none_of_the_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"--only cnn\.r1: this run has no such network; it has dnn, cnn, norm"):
        tmrepro.run(write_spec(tmp_path, TINY_SPEC), out=tmp_path / "run", only=["cnn.r1"])
    assert not (tmp_path / "run").exists()


def test_a_plane_between_networks_needs_them_all(tmp_path):
    dnn = "- {name: dnn, kind: dnn, widths: [8, 10]}"
    more = "".join(f"\n  - {{name: {name}, kind: dnn, widths: [8, 10]}}" for name in "ab")
    spec = write_spec(
        tmp_path,
        TINY_SPEC,
        ("{name: one, grid: {K: 5, step: 0.5}, chunk: 2}", "{name: one, directions: {between: [a, b]}, grid: {K: 5}}"),
        (dnn, dnn + more),
    )
    with pytest.raises(UsageError, match="add --only b"):
        tmrepro.run(spec, out=tmp_path / "run", only=["dnn", "a"])


def test_a_part_whose_network_collapses_fails_and_keeps_the_others(tmp_path):
    constant = '  - {name: constant, kind: custom, factory: "tiny_networks:Constant"}\n'
    spec = write_spec(
        tmp_path, TINY_SPEC, ("models:\n", f"models:\n{constant}"), ("max_epochs: 6", "max_epochs: 2, reseeds: 0")
    )
    with pytest.raises(CollapsedError, match=r"constant collapsed[^\n]*\nthe other networks are finished"):
        tmrepro.run(spec, out=tmp_path / "run", only=["constant", "dnn"])
    assert StageBook(tmp_path / "run").get("surface/one/dnn") is not None


def test_the_command_says_what_a_part_lacks(start, tmp_path):
    command = start(
        "run", write_spec(tmp_path, TINY_SPEC), "--out", tmp_path / "part", "--only", "dnn", "--only", "cnn"
    )
    assert command.wait() == 0, command.err
    assert "has dnn, cnn, but lacks norm" in command.out
