"""Training curves: the losses, the line at epsilon, and the epochs that matter."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from matplotlib.text import Text

from tests.support.records import a_minimum
from tmrepro.records import History, Minimum
from tmrepro.reporting.figures import draw_training


@pytest.fixture
def minimum() -> Minimum:
    return a_minimum(epochs=12, best_epoch=12, lm_first_epoch=9, gm_first_epoch=7)


def draw(histories, minima):
    figure = draw_training(histories, minima=minima)
    figure.canvas.draw()
    return figure


def axes_of(figure, label):
    (axes,) = [axes for axes in figure.axes if axes.get_label() == label]
    return axes


def test_both_losses_are_drawn_on_a_log_axis(history, minimum):
    axes = axes_of(draw({"dnn": history}, {"dnn": minimum}), "loss dnn")
    assert axes.get_yscale() == "log"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), history.train_losses)
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), history.validation_losses)
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), np.arange(1, 13))


def test_epsilon_and_the_epochs_that_matter_are_marked(history, minimum):
    figure = draw({"dnn": history}, {"dnn": minimum})
    axes = axes_of(figure, "loss dnn")
    assert list(axes.lines[2].get_ydata()) == [0.05, 0.05]
    marks = {(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in axes.lines[3:]}
    assert marks == {(epoch, history.train_losses[epoch - 1]) for epoch in (7, 9, 12)}
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["training loss Tᵢ", "validation loss Vᵢ", "ε = 0.05", "first LM", "first GM", "best epoch: θ*"]


def test_what_never_happened_is_not_marked(history, minimum):
    never = dataclasses.replace(minimum, lm_first_epoch=None, gm_first_epoch=None, category="none")
    figure = draw({"dnn": history}, {"dnn": never})
    words = [text.get_text() for text in figure.findobj(Text)]
    assert "first GM" not in words
    assert any("not a minimum" in text for text in words)


def test_accuracies_have_their_own_panel(history, minimum):
    axes = axes_of(draw({"dnn": history}, {"dnn": minimum}), "accuracy dnn")
    assert axes.lines[0].get_ydata()[-1] == pytest.approx(1 - 0.5**12)
    assert axes.lines[1].get_ydata()[-1] == pytest.approx(0.9 - 0.5**12 / 2)


def test_losses_a_log_axis_cannot_show_are_gaps(history):
    epochs = list(history.epochs)
    epochs[3] = dataclasses.replace(epochs[3], train_loss=0.0, validation_loss=float("inf"))
    axes = axes_of(draw({"dnn": History(tuple(epochs))}, {}), "loss dnn")
    assert np.isnan(axes.lines[0].get_ydata()[3])
    assert np.isnan(axes.lines[1].get_ydata()[3])
    assert np.isfinite(axes.lines[0].get_ydata()).sum() == 11


def test_histories_without_anything_to_draw_do_not_fail(history):
    one = dataclasses.replace(history.epochs[0], train_loss=0.0, validation_loss=float("nan"))
    draw({"empty": History(()), "one": History((one,)), "short": History(history.epochs[:1])}, {})
    draw({}, {})


def test_seconds_are_not_in_the_picture(history, minimum):
    slower = History(tuple(dataclasses.replace(epoch, seconds=epoch.seconds * 9) for epoch in history.epochs))
    later = dataclasses.replace(minimum, training_seconds=99.0, gm_first_seconds=9.0, lm_first_seconds=8.0)
    pictures = [
        bytes(draw({"dnn": curve}, {"dnn": point}).canvas.buffer_rgba())
        for curve, point in ((history, minimum), (slower, later))
    ]
    assert pictures[0] == pictures[1]


def test_titles_and_labels_do_not_overlap(history, minimum):
    names = ("dnn", "n" * 64 + ".r1", "resnet50")
    figure = draw(dict.fromkeys(names, history), dict.fromkeys(names, minimum))
    boxes = {}
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip():
            box = text.get_window_extent()
            if box.overlaps(figure.bbox):
                boxes[(text.get_text(), id(text))] = box
    for (first, one), (second, other) in itertools.combinations(boxes.items(), 2):
        assert not one.padded(-1.0).overlaps(other.padded(-1.0)), (first, second)
