"""models/NAME/trajectory.csv: the path of training.

The columns are `epoch`, `loss`, `distance`, `gradient_norm`, `cosine`, `pca_1`, `pca_2`, and for each surface SURFACE.a,
SURFACE.b and SURFACE.distance. Numbers are written in their shortest exact form. An undefined number is an empty field.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tmrepro.errors import DamagedError
from tmrepro.records import PlanePlace, TrajectoryPoint
from tmrepro.store.atomic import read_bytes, safe_path, shown, write_text
from tmrepro.store.run_files import TRAJECTORY, model_file

LIMIT_BYTES = 64 * 2**20

_OWN = ("epoch", "loss", "distance", "gradient_norm", "cosine", "pca_1", "pca_2")
_OF_PLANE = ("a", "b", "distance")


def save_trajectory(run: Path, model: str, points: Sequence[TrajectoryPoint], *, work: Path) -> str:
    """Write the path of `model`. Return the path of the file relative to `run`."""
    relative = model_file(model, TRAJECTORY)
    write_text(run / relative, trajectory_text(points), work=work)
    return relative


def trajectory_text(points: Sequence[TrajectoryPoint]) -> str:
    """Return the content of the file."""
    surfaces = list(points[0].places) if points else []
    lines = [",".join(_columns(surfaces))]
    lines += [",".join([str(point.epoch), *map(_written, _numbers(point, surfaces))]) for point in points]
    return "\n".join(lines) + "\n"


def trajectory_columns(points: Sequence[TrajectoryPoint]) -> dict[str, np.ndarray]:
    """Return the columns [points] of the file, float64. nan is undefined."""
    surfaces = list(points[0].places) if points else []
    names, rows = _columns(surfaces), [(point.epoch, *_numbers(point, surfaces)) for point in points]
    return dict(zip(names, np.array(rows, dtype=np.float64).reshape(len(rows), len(names)).T, strict=True))


def load_trajectory(run: Path, model: str, *, surfaces: Sequence[str]) -> tuple[TrajectoryPoint, ...]:
    """Return the path of `model`, with its coordinates in the planes of `surfaces`.

    Raises:
        DamagedError: the file is missing, or has a line that `save_trajectory` does not write for these surfaces.
    """
    name = model_file(model, TRAJECTORY)
    data = read_bytes(safe_path(run, name), limit_bytes=LIMIT_BYTES, name=name)
    header, *rows = data.decode("ascii", errors="replace").removesuffix("\n").split("\n")
    expected = ",".join(_columns(surfaces))
    if header != expected:
        raise DamagedError(f"{name}:1: expected the columns {shown(expected[:200])}, found {shown(header[:200])}")
    if not rows:
        raise DamagedError(f"{name}: expected the points of a path, found none")
    points: list[TrajectoryPoint] = []
    for number, row in enumerate(rows, start=2):
        point = _point(row, surfaces)
        if point is None or (points and point.epoch <= points[-1].epoch):
            raise DamagedError(
                f"{name}:{number}: expected an epoch after the one before and {expected.count(',')} numbers, "
                f"found {shown(row[:200])}"
            )
        points.append(point)
    return tuple(points)


def kept_state(model: str, epoch: int) -> str:
    """Return the file for the weights of a point of the path, if the spec keeps them, relative to the run."""
    return f"models/{model}/trajectory/{epoch}.safetensors"


def _columns(surfaces: Sequence[str]) -> list[str]:
    return [*_OWN, *(f"{surface}.{column}" for surface in surfaces for column in _OF_PLANE)]


def _numbers(point: TrajectoryPoint, surfaces: Sequence[str]) -> list[float | None]:
    """Return the numbers of a line after the epoch."""
    numbers = [point.loss, point.distance, point.gradient_norm, point.cosine, *(point.components or (None, None))]
    for place in map(point.places.__getitem__, surfaces):
        numbers += [place.a, place.b, place.distance]
    return numbers


def _written(number: float | None) -> str:
    return "" if number is None or not math.isfinite(number) else repr(float(number))


def _point(row: str, surfaces: Sequence[str]) -> TrajectoryPoint | None:
    """Return the point of a line; None if `trajectory_text` would write it differently."""
    texts = row.split(",")
    if len(texts) != len(_OWN) + len(_OF_PLANE) * len(surfaces):
        return None
    try:
        epoch = int(texts[0])
        numbers = [float(text) if text else None for text in texts[1:]]
    except ValueError:
        return None
    loss, distance, gradient_norm, cosine, first, second, *places = numbers
    if str(epoch) != texts[0] or epoch < 0 or list(map(_written, numbers)) != texts[1:]:
        return None
    if distance is None or (first is None) != (second is None):
        return None
    components = None if first is None or second is None else (first, second)
    by_surface = {surface: PlanePlace(*places[index * 3 : index * 3 + 3]) for index, surface in enumerate(surfaces)}
    return TrajectoryPoint(epoch, loss, distance, gradient_norm, cosine, components, by_surface)
