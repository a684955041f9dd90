"""The results of a run as named values. `tmrepro diff`, `tmrepro verify` and `verify --update` compare these.

This is the one list of what is compared. Durations and times of day are left out, because they differ between equal runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tmrepro.records import Epoch, History, Minimum
from tmrepro.spec import Spec, expand_models, expand_surfaces, surfaces_around
from tmrepro.spec.limits import FIGURE_BYTES
from tmrepro.store.atomic import read_bytes, safe_path
from tmrepro.store.curvature import read_curvature
from tmrepro.store.documents import load_history
from tmrepro.store.minima import read_minimum
from tmrepro.store.run_files import CURVATURE, HISTORY, STORE, TRAJECTORY, model_file
from tmrepro.store.statistics import read_statistics
from tmrepro.store.surfaces import read_surface
from tmrepro.store.trajectories import load_trajectory, trajectory_columns

Values = Mapping[str, Any]  # numbers, texts, arrays, and the bytes of figures, by name

SECONDS = "seconds"  # the end of the name of every duration
_DEPTH = "depth_below_minimum"  # of minimum.json; it follows from the surfaces


MISSING = object()  # the value of what a side does not have; None means undefined


@dataclass(frozen=True)
class Part:
    """A named value of two sides; MISSING if a side does not have it."""

    name: str
    ours: Any
    theirs: Any

    @property
    def is_identical(self) -> bool:
        """Whether both sides have the same bits. The signs of zeros count, and so do the bits of nan in an array."""
        if isinstance(self.ours, np.ndarray) and isinstance(self.theirs, np.ndarray):
            kinds = ((side.shape, side.dtype) for side in (self.ours, self.theirs))
            return len(set(kinds)) == 1 and self.ours.tobytes() == self.theirs.tobytes()
        return type(self.ours) is type(self.theirs) and repr(self.ours) == repr(self.theirs)


def parts_of(ours: Values, theirs: Values) -> Iterator[Part]:
    """Yield every value of either side, in the order of `ours`."""
    for name in dict.fromkeys([*ours, *theirs]):
        yield Part(name, ours.get(name, MISSING), theirs.get(name, MISSING))


def history_values(history: History) -> dict[str, np.ndarray]:
    """Return the columns [epochs] of a history, float64. nan is undefined."""
    return {
        field.name: np.array([getattr(epoch, field.name) for epoch in history.epochs], dtype=np.float64)
        for field in fields(Epoch)
        if field.name != SECONDS
    }


def minimum_values(minimum: Minimum) -> dict[str, Any]:
    """Return the fields of minimum.json."""
    names = (field.name for field in fields(Minimum))
    return {name: getattr(minimum, name) for name in names if name != _DEPTH and not name.endswith(f"_{SECONDS}")}


def surface_values(folder: Path, surface: str, model: str) -> dict[str, Any]:
    """Return the attributes of a surface, except its measured error (statistics.json has it), and its arrays."""
    values, facts, home, step = read_surface(folder, surface, model)
    attributes = flat(asdict(replace(facts, error=None))) | {"home": home, "step": step}
    return attributes | {"axis a": values.a, "axis b": values.b, "loss": values.loss, "accuracy": values.accuracy}


def curvature_values(folder: Path, model: str) -> dict[str, Any]:
    """Return the content of curvature.json; lists as arrays."""
    values = flat(read_curvature(folder, model).model_dump())
    return {name: np.array(value) if isinstance(value, tuple) else value for name, value in values.items()}


def read_figure(folder: Path, relative: str) -> bytes:
    """Return the bytes of a figure.

    Raises:
        DamagedError: it is missing or too large.
    """
    return read_bytes(safe_path(folder, relative), limit_bytes=FIGURE_BYTES, name=relative)


def results(folder: Path, spec: Spec) -> dict[str, Callable[[], Values]]:
    """Return, for everything that the run or reference in `folder` computed, a function that reads its values.

    The names are paths of files (of the folder for minimum.json and surfaces), and SURFACE/MODEL for statistics. The
    functions raise DamagedError.
    """
    found: dict[str, Callable[[], Values]] = {}
    for model in (trained.name for trained in expand_models(spec)):
        found[f"models/{model}"] = partial(_minimum, folder, model)
        for name, read in ((HISTORY, _history), (TRAJECTORY, partial(_path, spec)), (CURVATURE, curvature_values)):
            if os.path.lexists(folder / model_file(model, name)):
                found[model_file(model, name)] = partial(read, folder, model)
    for surface, models in read_statistics(folder).items():
        found |= {f"{surface}/{model}": partial(dict, values) for model, values in models.items()}
    for drawn in expand_surfaces(spec):
        for model in drawn.models:
            if os.path.lexists(folder / STORE / drawn.name / model):
                found[f"{STORE}/{drawn.name}/{model}"] = partial(surface_values, folder, drawn.name, model)
    for figure in sorted(path.name for path in folder.glob("figures/*.png")):
        found[f"figures/{figure}"] = partial(_figure, folder, f"figures/{figure}")
    return found


def _minimum(folder: Path, model: str) -> Values:
    return minimum_values(read_minimum(folder, model))


def _history(folder: Path, model: str) -> Values:
    relative = model_file(model, HISTORY)
    return history_values(load_history(safe_path(folder, relative), name=relative))


def _path(spec: Spec, folder: Path, model: str) -> Values:
    return trajectory_columns(load_trajectory(folder, model, surfaces=surfaces_around(spec, model)))


def _figure(folder: Path, relative: str) -> Values:
    return {"": read_figure(folder, relative)}


def flat(tree: Mapping[str, Any], *, separator: str = ".") -> dict[str, Any]:
    """Return the leaves of nested objects by their paths."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= {f"{key}{separator}{inner}": leaf for inner, leaf in flat(value, separator=separator).items()}
        else:
            found[key] = value
    return found
