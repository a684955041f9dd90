"""Sheets of replicates, curves of other seeds, and the scale that is chosen by the range of a figure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.reporting.figures.panels import make_panel
from tmrepro.reporting.figures import ReplicateSheet, draw_landscape, draw_replicates, draw_training
from tmrepro.reporting.figures.replicates import MOST_COLUMNS
from tmrepro.reporting.figures.scale import loss_scale


def sheet(*, seeds: int = 3, failed: int | None = None) -> ReplicateSheet:
    names = ["dnn", *(f"dnn.r{seed}" for seed in range(1, seeds))]
    pairs = {
        pair: [None if seed == failed else make_panel(model=name, shape=(5, 5)) for seed, name in enumerate(names)]
        for pair in ("one", "one.d1")
    }
    return ReplicateSheet("dnn", names, ["TM"] * seeds, pairs)


def words(figure) -> list[str]:
    return [text.get_text() for text in [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]]


def test_a_sheet_has_a_map_for_each_seed_and_pair():
    figure = draw_replicates([sheet(failed=1)], title="x", scale="linear", words="l2")
    maps = [axes.get_label() for axes in figure.axes if axes.get_label() != "colour bar"]
    assert maps == [f"{pair} {name}" for pair in ("one", "one.d1") for name in ("dnn", "dnn.r1", "dnn.r2")]
    assert words(figure).count("no surface") == 2
    assert "dnn.r1 · TM" in words(figure)


def test_a_sheet_says_which_seeds_it_leaves_out():
    figure = draw_replicates([sheet(seeds=MOST_COLUMNS + 2)], title="x", scale="auto", words="l2")
    assert len([axes for axes in figure.axes if axes.get_label() != "colour bar"]) == 2 * MOST_COLUMNS
    assert any(f"the first {MOST_COLUMNS} of {MOST_COLUMNS + 2} training seeds" in line for line in words(figure))


def test_a_sheet_without_any_finite_loss_is_drawn():
    nothing = make_panel(lambda a, b: np.nan * (a + b), shape=(3, 3))
    figure = draw_replicates(
        [
            ReplicateSheet("dnn", ["dnn"], ["none"], {"one": [nothing]}),
            ReplicateSheet("cnn", ["cnn"], ["diverged"], {"one": [None]}),
        ],
        title="x",
        scale="auto",
        words="l2",
    )
    assert "no surface" in words(figure)


@pytest.mark.parametrize(
    ("losses", "kind"),
    [
        ([0.02, 2.0], "linear"),
        ([0.02, 2.001], "log"),
        ([0.0, 1e-9], "log"),
        ([0.0, 0.0], "linear"),
        ([np.nan, np.inf], "linear"),
        ([1.0, np.nan, 50.0], "linear"),
        ([-3.0, 1.0], "log"),
        ([-3.0, -1.0], "linear"),
    ],
)
def test_a_scale_is_logarithmic_where_losses_span_more_than_a_hundred(losses, kind):
    assert loss_scale([np.array(losses)], kind="auto").kind == kind


def test_all_rows_of_a_figure_have_one_kind_of_scale():
    steep = make_panel(lambda a, b: 0.01 * 10 ** (a + 0 * b), shape=(5, 5))
    flat = replace(make_panel(lambda a, b: 5 + a + b, shape=(5, 5)), model="cnn")
    figure = draw_landscape([steep, flat], title="x", scale="auto", shared=False, directions="l2", labels="relabelled")
    bars = [axes.get_ylabel() for axes in figure.axes if axes.get_label() == "colour bar"]
    assert len(bars) == 2
    assert all("log" in label for label in bars)


def test_other_seeds_are_faint_lines_that_fit_into_the_panel(history):
    longer = type(history)(
        tuple(replace(epoch, epoch=epoch.epoch + shift) for shift in (0, 12) for epoch in history.epochs)
    )
    figure = draw_training({"dnn": history}, minima={}, others={"dnn": [history, longer]})
    losses = next(axes for axes in figure.axes if axes.get_label() == "loss dnn")
    faint = [line for line in losses.lines if line.get_alpha() is not None]
    assert len(faint) == 2
    assert losses.get_xlim()[1] >= 24
