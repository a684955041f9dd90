"""The content of the page, as JSON values. Every number is a stored one; a large grid is thinned out, never averaged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from tmrepro.records import TrajectoryPoint
from tmrepro.reporting.figures.style import COLORMAP
from tmrepro.store.finished import Finished

MOST_POINTS = 600_000  # of all surfaces together: about 25 MB of text, which browsers read without delay
COLOURS = 33  # stops of the colour map


def page_data(run: Finished, *, most_points: int = MOST_POINTS) -> dict[str, Any]:
    """Return the content of the page of `run`, whose surfaces have at most about `most_points` points together.

    Numbers that are not finite become the texts nan, inf and -inf, because JSON cannot represent them as numbers.
    """
    stride = _stride([drawn.spec.grid.K for drawn in run.surfaces.values()], most=most_points)
    paths = {model: run.trajectory(model) for model in run.models}
    return {
        "title": run.spec.name,
        "unit": run.unit,
        "scale": run.spec.figures.scale,
        "colours": [to_hex(colour) for colour in colormaps[COLORMAP](np.linspace(0, 1, COLOURS))],
        "networks": [_network(run, name) for name in run.models],
        "surfaces": _surfaces(run),
        "grids": [
            _grid(run, surface, model, stride=stride, path=paths[model]) for surface, model in run.surfaces
        ],
    }  # fmt: skip


def _stride(sizes: list[int], *, most: int) -> int:
    """Return the least n for which every n-th point along both axes makes at most `most` points."""
    stride = 1
    while sum(math.ceil(K / stride) ** 2 for K in sizes) > most and stride < max(sizes):
        stride += 1
    return stride


def _network(run: Finished, name: str) -> dict[str, Any]:
    trained, minimum = run.models[name], run.minima[name]
    return {
        "name": name,
        "base": trained.base,
        "replicate": trained.replicate,
        "seed": minimum.seed,
        "category": minimum.category,
        "reason": minimum.reason,
    }


def _surfaces(run: Finished) -> list[dict[str, Any]]:
    found = {drawn.name: drawn for drawn in run.surfaces.values()}
    return [
        {
            "name": name,
            "base": drawn.base,
            "replicate": drawn.replicate,
            "directions": drawn.spec.directions.describe(),
            "seeds": list(drawn.seeds) if drawn.spec.directions.kind == "random" else None,
            "labels": drawn.spec.labels,
        }
        for name, drawn in found.items()
    ]


def _grid(
    run: Finished, surface: str, model: str, *, stride: int, path: tuple[TrajectoryPoint, ...]
) -> Mapping[str, Any]:
    """Return one surface. `loss` and `accuracy` are [a][b]; `home` is the index of theta* among the points on the page."""
    found = run.dataset(surface, model)
    _, facts, home, _ = run.surface(surface, model)
    stride = min(stride, max(home[0], len(found.a) - 1 - home[0]))  # at least two points along an axis
    rows, columns = (slice(index % stride, None, stride) for index in home)
    accuracy = found.accuracy.values[rows, columns]
    places = [(point.epoch, point.places[surface]) for point in path]
    return {
        "surface": surface,
        "network": model,
        "stride": stride,
        "a": found.a.values[rows].tolist(),
        "b": found.b.values[columns].tolist(),
        "labels": [found.a.attrs["long_name"], found.b.attrs["long_name"]],
        "home": [home[0] // stride, home[1] // stride],
        "loss": _rows(found.loss.values[rows, columns]),
        "accuracy": None if np.isnan(accuracy).all() else _rows(accuracy),
        "path": [[epoch, place.a, place.b, place.distance] for epoch, place in places],
        "marks": [[mark.name, mark.a, mark.b] for mark in facts.marks],
    }


def _rows(values: np.ndarray) -> list[list[float | str]]:
    return [[value if math.isfinite(value) else str(value) for value in row] for row in values.tolist()]
