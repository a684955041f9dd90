"""Training curves: a row per network with T_i, V_i, the epsilon line, the epochs that matter, and the accuracies.

Times are not drawn, since a figure must be the same on a faster machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from tmrepro.records import History, Minimum
from tmrepro.reporting.figures.scale import loss_label
from tmrepro.reporting.figures.style import (
    BLUE,
    INK,
    ORANGE,
    category_words,
    isolated_settings,
    new_figure,
    place,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

WIDTH = 10.6
_HEADER, _ROW, _FOOTER = 1.1, 3.2, 0.1
_LEFT, _BOTTOM, _HEIGHT = 0.85, 0.65, 2.1
_LOSS_WIDTH, _ACCURACY_LEFT, _ACCURACY_WIDTH = 5.2, 6.95, 3.3

_FEW = 40  # with more epochs, markers would only thicken the line
_TRAIN: dict[str, Any] = {"color": BLUE, "linewidth": 1.4}
_OTHER: dict[str, Any] = {"color": BLUE, "linewidth": 0.6, "alpha": 0.4}
_VALIDATION: dict[str, Any] = {"color": ORANGE, "linewidth": 1.4, "linestyle": (0, (4, 1.5))}


def draw_training(
    histories: Mapping[str, History],
    *,
    minima: Mapping[str, Minimum],
    unit: str = "nats",
    others: Mapping[str, Sequence[History]] = MappingProxyType({}),
) -> Figure:
    """Draw the histories in their order. Mark the epochs of each network in `minima`. `unit` is that of the losses.

    `others`: histories of the same networks with other seeds. Their training losses are faint lines.
    """
    height = _HEADER + _ROW * max(1, len(histories)) + _FOOTER
    with isolated_settings():
        figure = new_figure(WIDTH, height)
        write(figure, _LEFT, height - 0.38, "Training", fontsize=14, weight="bold")
        entries: dict[str, Line2D] = {}
        for number, (model, history) in enumerate(histories.items()):
            bottom = height - _HEADER - _ROW * (number + 1) + _BOTTOM
            minimum = minima.get(model)
            title = _row_title(model, minimum)
            write(figure, _LEFT, bottom + _HEIGHT + 0.12, title, fontsize=11, weight="bold")
            left = figure.add_axes(place(figure, _LEFT, bottom, _LOSS_WIDTH, _HEIGHT), label=f"loss {model}")
            entries |= _draw_losses(left, history, minimum, unit) | _draw_others(left, others.get(model, ()))
            right = place(figure, _ACCURACY_LEFT, bottom, _ACCURACY_WIDTH, _HEIGHT)
            _draw_accuracies(figure.add_axes(right, label=f"accuracy {model}"), history)
        if entries:
            corner = (_LEFT / WIDTH, (height - 0.95) / height)
            figure.legend(
                [*entries.values()], [*entries], loc="lower left", bbox_to_anchor=corner, ncols=7, frameon=False,
                borderaxespad=0, fontsize=8.5, columnspacing=1.3 if any(others.values()) else 1.6, handlelength=2.2,
            )  # fmt: skip
    return figure


def _row_title(model: str, minimum: Minimum | None) -> str:
    if minimum is None:
        return model
    category = category_words(minimum.category)
    stop = {
        "max_epochs": "ended at max_epochs", "lm": "stopped at LM", "gm": "stopped at GM", "diverged": "diverged",
    }[minimum.stopped]  # fmt: skip
    return f"{model}  ·  {category}  ·  {minimum.epochs} epochs, {stop}"


def _draw_losses(axes: Axes, history: History, minimum: Minimum | None, unit: str) -> dict[str, Line2D]:
    """Return the lines for the legend, by their texts."""
    epochs = _epochs(history)
    train, validation = _drawable(history.train_losses), _drawable(history.validation_losses)
    axes.set_yscale("log", nonpositive="mask")
    few: dict[str, Any] = {"marker": ".", "markersize": 4} if len(epochs) <= _FEW else {}
    entries = {
        "training loss Tᵢ": axes.plot(epochs, train, **_TRAIN, **few)[0],
        "validation loss Vᵢ": axes.plot(epochs, validation, **_VALIDATION, **few)[0],
    }
    if minimum is not None:
        entries[f"ε = {loss_label(minimum.epsilon)}"] = axes.axhline(minimum.epsilon, color=INK, lw=0.9, ls=":")
        entries |= _mark_epochs(axes, epochs, train, minimum)
    _finish(axes, epochs, label=f"loss ({unit})")
    if np.isfinite(train).any() or np.isfinite(validation).any() or minimum is not None:
        _label_decades(axes)
    else:
        axes.set_yticks([])
        axes.yaxis.set_minor_locator(NullLocator())
        axes.text(0.5, 0.5, "no positive, finite loss", transform=axes.transAxes, ha="center")
    return entries


def _draw_others(axes: Axes, others: Sequence[History]) -> dict[str, Line2D]:
    if not others:
        return {}
    lines = [axes.plot(_epochs(other), _drawable(other.train_losses), **_OTHER)[0] for other in others]
    left, right = axes.get_xlim()
    longest = max(len(other.epochs) for other in others)
    axes.set_xlim(left, max(right, longest + 0.02 * longest))
    return {"Tᵢ, other seeds": lines[0]}


def _mark_epochs(
    axes: Axes, epochs: Float64[np.ndarray, " epochs"], train: Float64[np.ndarray, " epochs"], minimum: Minimum
) -> dict[str, Line2D]:
    """Mark epochs on the training curve, by shapes that remain distinct when they overlap."""
    marks: tuple[tuple[str, int | None, dict[str, Any]], ...] = (
        ("first LM", minimum.lm_first_epoch, {"marker": "o", "ms": 13, "mfc": "none", "mew": 1.2}),
        ("first GM", minimum.gm_first_epoch, {"marker": "s", "ms": 11, "mfc": "none", "mew": 1.2}),
        ("best epoch: θ*", minimum.best_epoch, {"marker": "*", "ms": 9, "mfc": INK, "mew": 0.5}),
    )
    entries = {}
    for words, epoch, look in marks:
        where = np.flatnonzero(epochs == epoch)
        if where.size and np.isfinite(train[where[0]]):
            at = where[0]
            entries[words] = axes.plot(epochs[at], train[at], ls="", mec=INK, zorder=5, clip_on=False, **look)[0]
    return entries


def _draw_accuracies(axes: Axes, history: History) -> None:
    epochs = _epochs(history)
    for accuracies, look in (
        ([epoch.train_accuracy for epoch in history.epochs], _TRAIN),
        ([epoch.validation_accuracy for epoch in history.epochs], _VALIDATION),
    ):
        axes.plot(epochs, np.array(accuracies, dtype=np.float64), **look)
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f}%"))
    if all(epoch.train_accuracy is None for epoch in history.epochs) and history.epochs:
        axes.text(0.5, 0.5, "no accuracy: targets are numbers", transform=axes.transAxes, ha="center", fontsize=8.5)
    _finish(axes, epochs, label="accuracy")


def _finish(axes: Axes, epochs: Float64[np.ndarray, " epochs"], *, label: str) -> None:
    last = float(epochs.max()) if epochs.size else 1.0
    first = float(epochs.min()) if epochs.size else 0.0
    room = max(0.5, 0.02 * (last - first))
    axes.set_xlim(first - room, last + room)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.grid(visible=True, color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _label_decades(axes: Axes) -> None:
    """Label decades. If the losses span less than two decades, also label 2 and 5 between them."""
    low, high = axes.get_ylim()
    close = high < 100 * low
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5) if close else (1,), numticks=12 if close else 8))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: loss_label(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _epochs(history: History) -> Float64[np.ndarray, " epochs"]:
    return np.array([epoch.epoch for epoch in history.epochs], dtype=np.float64)


def _drawable(losses: Float64[np.ndarray, " epochs"]) -> Float64[np.ndarray, " epochs"]:
    """Return the losses for a log axis. A loss that is not positive or not finite is a gap in the line."""
    return np.where(np.isfinite(losses) & (losses > 0), losses, np.nan)
