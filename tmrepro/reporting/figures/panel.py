"""The input of one row of Figure 1, and the selection of the grid points that are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from tmrepro.records import PlanePlace, Surface, SurfaceFacts

MOST_MAP_POINTS = 401  # per axis: more could not be distinguished on the page, and would enlarge the PDF
MOST_SOLID_POINTS = 81


@dataclass(frozen=True)
class Panel:
    """One row: a network's name and category, its surface, facts about the directions, the (i, j) of theta*.

    `path` is the projection of the path of training to the plane, from its first point; empty if none was recorded.
    """

    model: str
    category: str
    surface: Surface
    facts: SurfaceFacts
    home: tuple[int, int]
    path: tuple[PlanePlace, ...] = ()

    @property
    def path_points(self) -> Float64[np.ndarray, "points 2"]:
        """(a, b) of the points of the path that have coordinates in the plane."""
        places = [(place.a, place.b) for place in self.path if place.a is not None and place.b is not None]
        return np.array(places, dtype=np.float64).reshape(-1, 2)


@dataclass(frozen=True)
class Drawn:
    """The part of a surface that is drawn: `loss[i, j]` at (`a[i]`, `b[j]`)."""

    a: Float64[np.ndarray, " Ka"]
    b: Float64[np.ndarray, " Kb"]
    loss: Float64[np.ndarray, "Ka Kb"]


def drawn_part(panel: Panel, *, most: int) -> Drawn:
    """Return at most about `most` points per axis: theta* and both ends always, and every n-th point between."""
    surface = panel.surface
    rows, columns = (_indices(surface.loss.shape[axis], panel.home[axis], most) for axis in (0, 1))
    return Drawn(surface.a[rows], surface.b[columns], surface.loss[np.ix_(rows, columns)])


def thinning(size: int, *, most: int) -> int:
    """Return the n of "every n-th point" for an axis of `size` points; 1 draws them all."""
    return -(-size // most)


def _indices(size: int, home: int, most: int) -> Int[np.ndarray, " k"]:
    step = thinning(size, most=most)
    return np.unique(np.concatenate([np.arange(home % step, size, step), [0, size - 1]]))
