"""Filled contours with labelled lines. Every label is legible.

matplotlib labels every piece of every line. On a rippled surface, hundreds of labels would overlap. Here each level has one
label, on its longest piece, at the greatest distance from the labels that are already there. A level without a free place has
none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float64
from matplotlib.colors import Normalize
from matplotlib.patheffects import withStroke

from tmrepro.reporting.figures.style import COLORMAP, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.contour import QuadContourSet

_CLEARANCE = 0.13  # distance between labels, and from theta*, as a share of the picture's side
_EDGE = 0.07  # least distance of a label from the frame
_SHORTEST = 0.2  # a line shorter than this has no room for a label
_POINTS_PER_SIDE = 100  # candidate places for a label on a line as long as the picture's side
_DARK = 0.45  # lines are light if the colour below is darker than this


def draw_contours(
    axes: Axes,
    a: Float64[np.ndarray, " Ka"],
    b: Float64[np.ndarray, " Kb"],
    heights: Float64[np.ndarray, "Ka Kb"],
    *,
    levels: Mapping[float, str],
    norm: Normalize,
    keep_clear: tuple[float, float],
) -> None:
    """Fill the axes with bands between the levels, with a line and a label at each level. A nan is a gap.

    Args:
        axes: where to draw; its limits must be set.
        a: places along x.
        b: places along y.
        heights: the values at (a[i], b[j]); not all nan.
        levels: ascending heights of the lines, and their labels ("" for none); empty for a constant surface.
        norm: from height to colour.
        keep_clear: a point in units of a and b where no label may be.
    """
    drawn = np.ma.masked_invalid(heights).T  # contour takes [y, x]
    low, high = float(drawn.min()), float(drawn.max())
    pad = max(1e-6 * (high - low), 1e-9 * max(abs(low), abs(high)), 1e-300)
    bands = [low - pad, *levels, high + pad]
    axes.contourf(a, b, drawn, levels=bands, cmap=COLORMAP, norm=norm)
    if not levels:
        return
    colours = ["#ffffff" if light else INK for light in _is_dark(np.array([*levels]), norm)]
    lines = axes.contour(a, b, drawn, levels=[*levels], colors=colours, linewidths=0.7, linestyles="solid")
    places = _label_places(axes, lines, keep_clear) if any(levels.values()) else []
    if places:
        for label in axes.clabel(lines, manual=places, fmt=dict(levels), fontsize=7.5, colors=INK, inline=True):
            label.set_path_effects([withStroke(linewidth=2.2, foreground="white")])
            label.set_zorder(5)


def _is_dark(levels: Float64[np.ndarray, " n"], norm: Normalize) -> Bool[np.ndarray, " n"]:
    red, green, blue, _ = mpl.colormaps[COLORMAP](norm(levels)).T
    return np.asarray(0.2126 * red + 0.7152 * green + 0.0722 * blue < _DARK)


def _label_places(axes: Axes, lines: QuadContourSet, keep_clear: tuple[float, float]) -> list[tuple[float, float]]:
    """Return one point, in data units, for each level that has a long enough line and room beside the other labels."""
    to_share = axes.transData + axes.transAxes.inverted()  # so that distances do not depend on the units of a and b
    taken = [to_share.transform(keep_clear)]
    chosen: list[tuple[float, float]] = []
    for pieces in lines.allsegs:
        shares = [_dense(to_share.transform(piece)) for piece in pieces if len(piece) > 1]
        lengths = [float(np.linalg.norm(np.diff(piece, axis=0), axis=1).sum()) for piece in shares]
        if not lengths or max(lengths) < _SHORTEST:
            continue
        line = shares[int(np.argmax(lengths))]
        inside = line[((line > _EDGE) & (line < 1 - _EDGE)).all(axis=1)]
        if not len(inside):
            continue
        room = np.linalg.norm(inside[:, None] - np.array(taken)[None], axis=2).min(axis=1)
        best = int(np.argmax(room))
        if room[best] >= _CLEARANCE:
            taken.append(inside[best])
            x, y = to_share.inverted().transform(inside[best])
            chosen.append((float(x), float(y)))
    return chosen


def _dense(line: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "m 2"]:
    """Return the same line with points at even distances, so that a straight piece offers places between its ends."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    places = np.linspace(0.0, along[-1], max(2, round(along[-1] * _POINTS_PER_SIDE)))
    return np.stack([np.interp(places, along, line[:, axis]) for axis in (0, 1)], axis=1)
