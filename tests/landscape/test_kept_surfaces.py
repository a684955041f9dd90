"""A surface kept in a folder: continued, read, and never taken for the answer to another question."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
import torch
import xarray as xr

import tmrepro
from tests.support.runs import contents
from tmrepro.errors import UsageError
from tmrepro.surface import PlainEvaluator

loss_surface = inspect.unwrap(tmrepro.loss_surface)  # as callers have it, without the tests' type checker

GRID = ([0.0, 0.5, 1.0], [0.0, 2.0])


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The shape of every block that is really computed, but those in float64 that measure the error."""
    seen: list[tuple[int, int]] = []
    computed = PlainEvaluator.block

    def watched(self, a, b):
        if self._precision != "float64":
            seen.append((len(a), len(b)))
        return computed(self, a, b)

    monkeypatch.setattr(PlainEvaluator, "block", watched)
    return seen


def without_labels(found: xr.Dataset) -> xr.Dataset:
    """What the store has: it keeps no words for axes."""
    bare = found.copy()
    for variable in bare.variables.values():
        variable.attrs = {}
    return bare


def test_what_is_kept_is_what_is_returned(network, inputs, targets, tmp_path, blocks):
    asked = {"grid": GRID, "chunk": 2, "evaluator": "plain"}
    returned = loss_surface(network, "cross_entropy", inputs, targets, out=tmp_path / "k", **asked)
    xr.testing.assert_identical(returned, loss_surface(network, "cross_entropy", inputs, targets, **asked))
    with xr.open_zarr(tmp_path / "k" / "surfaces.zarr", group="own/model") as kept:
        stored = kept.load()
    points = stored.attrs.pop("error_points")  # pairs in the store, in a row where netCDF must hold them
    assert returned.attrs["error_points"] == [index for point in points for index in point]
    xr.testing.assert_identical(
        stored.assign_attrs(error_points=returned.attrs["error_points"]), without_labels(returned)
    )
    assert not (tmp_path / "k" / ".work").exists()
    blocks.clear()
    again = loss_surface(network, "cross_entropy", inputs, targets, out=tmp_path / "k", **asked)
    xr.testing.assert_identical(again, returned)
    assert blocks == []


def test_an_interrupted_surface_continues_to_the_same_bytes(network, inputs, targets, tmp_path, blocks):
    asked = {"grid": ([0.0, 1, 2, 3, 4], [0.0, 1, 2]), "chunk": 2, "evaluator": "plain"}
    whole = tmp_path / "whole"
    loss_surface(network, "cross_entropy", inputs, targets, out=whole, **asked)

    def stop(done: int, _: int) -> None:
        if done >= 6:
            raise KeyboardInterrupt

    part = tmp_path / "part"
    with pytest.raises(KeyboardInterrupt):
        loss_surface(network, "cross_entropy", inputs, targets, out=part, progress=stop, **asked)
    blocks.clear()
    loss_surface(network, "cross_entropy", inputs, targets, out=part, **asked)
    assert blocks == [(2, 2), (2, 1), (1, 2), (1, 1)]
    assert contents(part) == contents(whole)


def test_a_damaged_chunk_is_computed_again(network, inputs, targets, tmp_path, blocks):
    asked = {"grid": GRID, "chunk": 2, "out": tmp_path, "evaluator": "plain"}
    loss_surface(network, "cross_entropy", inputs, targets, **asked)
    before = contents(tmp_path)
    path = tmp_path / "surfaces.zarr/own/model/loss/c/1/0"
    path.write_bytes(path.read_bytes()[:-3] + b"abc")
    blocks.clear()
    loss_surface(network, "cross_entropy", inputs, targets, **asked)
    assert blocks == [(1, 2)]
    assert contents(tmp_path) == before


def test_another_question_is_refused_by_its_name(network, inputs, targets, tmp_path):
    asked = {"model": network, "loss": "cross_entropy", "inputs": inputs, "targets": targets, "grid": GRID}
    loss_surface(**asked, out=tmp_path)
    before = contents(tmp_path)
    moved = copy.deepcopy(network)
    moved[1].running_mean += 1
    for change, name in [
        ({"model": moved}, "parameters"),
        ({"inputs": inputs * 2}, "inputs"),
        ({"targets": (targets + 1) % 3}, "targets"),
        ({"loss": torch.nn.CrossEntropyLoss(label_smoothing=0.1)}, "loss"),
        ({"directions": (1, 3)}, "directions"),
        ({"grid": ([0.0, 0.5], [0.0, 2.0])}, "grid"),
        ({"precision": "float64"}, "precision"),
    ]:
        with pytest.raises(UsageError, match=rf"keeps another surface \(changed: {name}\b"):
            loss_surface(**(asked | change), out=tmp_path)
    assert contents(tmp_path) == before


def test_a_loss_of_the_same_name_that_gives_something_else_is_another(network, inputs, tmp_path):
    def make(factor: float):
        def own(outputs, wanted):
            return factor * (outputs - wanted).square().sum(1)

        return own

    wanted = torch.zeros(150, 3)
    loss_surface(network, make(1.0), inputs, wanted, grid=2, out=tmp_path)
    loss_surface(network, make(1.0), inputs, wanted, grid=2, out=tmp_path)
    with pytest.raises(UsageError, match="changed: loss at theta"):
        loss_surface(network, make(2.0), inputs, wanted, grid=2, out=tmp_path)


def test_somebody_elses_folder_is_left_alone(network, inputs, targets, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match=r"has other content \(thesis.tex\)"):
        loss_surface(network, "cross_entropy", inputs, targets, grid=2, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_points_that_are_not_finite_are_kept(network, inputs, targets, tmp_path):
    asked = {"grid": ([0.0, 1e39], [0.0, 1e39]), "out": tmp_path}
    first = loss_surface(network, "cross_entropy", inputs, targets, **asked)
    xr.testing.assert_identical(loss_surface(network, "cross_entropy", inputs, targets, **asked), first)
    assert not np.isfinite(first.loss).all()
