"""`loss_surface` where folding goes beyond the bound: the next evaluator is taken, and the answer says so."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import tmrepro
from tests.support.runs import contents
from tmrepro.surface import evaluators
from tmrepro.surface.cpu.folded import FoldedEvaluator

loss_surface = inspect.unwrap(tmrepro.loss_surface)  # as callers have it, without the tests' type checker

ASKED = {"grid": 3, "step": 0.1, "normalization": "filter"}


@pytest.fixture(scope="module")
def subnormal() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A network whose weights are subnormal numbers of few digits once batch norm's scale is folded into them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Flatten(), nn.Linear(32, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)
        ).eval()
        inputs = 1e27 * torch.randn(100, 32)
        with torch.no_grad():
            model[1].weight.mul_(1e-25)
            model[2].running_var.fill_(1e36)
            model[4].weight.mul_(5e16)
            labels = model(inputs).argmax(1)
    return model, inputs, labels


def test_folded_beyond_the_bound_is_passed_over(subnormal):
    model, inputs, labels = subnormal
    found = loss_surface(model, "cross_entropy", inputs, labels, **ASKED)
    assert found.attrs["evaluator"] == "prefix"
    assert "folded was " in found.attrs["evaluator_reason"]
    assert " times the bound off at (0, 0); prefix fits" in found.attrs["evaluator_reason"]
    assert found.attrs["error_over_bound"] <= 1
    assert found.attrs["error_images"] == 100
    points = np.reshape(found.attrs["error_points"], (-1, 2)).tolist()
    assert [0, 0] in points
    assert len(points) == 4
    assert "error_note" not in found.attrs


def test_folded_that_was_forced_stays_and_says_how_far_it_is_off(subnormal):
    model, inputs, labels = subnormal
    found = loss_surface(model, "cross_entropy", inputs, labels, evaluator="folded", **ASKED)
    exact = loss_surface(model, "cross_entropy", inputs, labels, evaluator="plain", precision="float64", **ASKED)
    points = tuple(np.reshape(found.attrs["error_points"], (-1, 2)).T)
    S, S64 = found.loss.to_numpy()[points], exact.loss.to_numpy()[points]
    assert found.attrs["error_over_bound"] == pytest.approx((abs(S - S64) / (1e-5 * (abs(S64) + 0.01))).max())
    assert found.attrs["error_over_bound"] > 10
    assert found.attrs["error_note"].startswith("folded, forced by name, is ")


class Blocks(FoldedEvaluator):
    """`folded`, said to be one of blocks: so it is measured once the surface is there, and not before."""

    name = "blocks"
    pointwise = False


def test_a_kept_surface_of_a_rejected_evaluator_is_replaced_also_after_an_interruption(
    subnormal, tmp_path, monkeypatch
):
    model, inputs, labels = subnormal
    monkeypatch.setattr(evaluators, "_BY_RULE", (Blocks,))
    asked = ASKED | {"chunk": 2}
    whole = loss_surface(model, "cross_entropy", inputs, labels, out=tmp_path / "whole", **asked)
    assert whole.attrs["evaluator"] == "plain"
    assert "blocks was " in whole.attrs["evaluator_reason"]
    calls = iter(range(100))

    def stop(_done: int, _points: int) -> None:
        if next(calls) == 6:  # of two times four chunks: two of the second evaluator are there
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loss_surface(model, "cross_entropy", inputs, labels, out=tmp_path / "part", progress=stop, **asked)
    again = loss_surface(model, "cross_entropy", inputs, labels, out=tmp_path / "part", **asked)
    xr.testing.assert_identical(again, whole)
    assert contents(tmp_path / "part") == contents(tmp_path / "whole")
    before = contents(tmp_path / "whole")
    xr.testing.assert_identical(
        loss_surface(model, "cross_entropy", inputs, labels, out=tmp_path / "whole", **asked), whole
    )
    assert contents(tmp_path / "whole") == before


def test_what_float64_cannot_compute_has_no_error_and_says_why(subnormal):
    model, _, labels = subnormal
    weight = torch.tensor([1.0, 2.0, 3.0])

    def weighted(outputs, targets):
        return nn.functional.cross_entropy(outputs, targets, weight, reduction="none")

    found = loss_surface(model, weighted, torch.randn(100, 32), labels, grid=2, evaluator="plain")
    assert "error_over_bound" not in found.attrs
    assert found.attrs["error_note"].startswith("not measured: ")
