"""Compares one stage of two runs bit by bit. Each function yields the differences in the order in which they arise."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tmrepro.comparison.contents import (
    MISSING,
    Part,
    Values,
    curvature_values,
    flat,
    history_values,
    minimum_values,
    parts_of,
    read_figure,
    surface_values,
)
from tmrepro.errors import DamagedError
from tmrepro.reporting.figures import compare_png
from tmrepro.spec import Spec, expand_surfaces, first_difference, surfaces_around
from tmrepro.store.atomic import WORK, safe_path
from tmrepro.store.documents import load_history, read_json
from tmrepro.store.manifest import check_manifest, file_hashes, told
from tmrepro.store.minima import read_minimum
from tmrepro.store.run_files import (
    CURVATURE,
    HISTORY,
    LABELS,
    MANIFEST,
    MINIMUM,
    PROVENANCE,
    SPEC,
    STATISTICS,
    STORE,
    THETA,
    TIMED,
    TRAJECTORY,
    VECTORS,
    model_file,
)
from tmrepro.store.specs import read_spec
from tmrepro.store.stages import recorded_code, stages_in
from tmrepro.store.statistics import read_statistics
from tmrepro.store.surfaces import chunk_slices
from tmrepro.store.tensors import load_labels, load_tensors
from tmrepro.store.trajectories import load_trajectory, trajectory_columns

_AT_POINTS = ("loss", "accuracy")


@dataclass(frozen=True)
class Difference:
    """The first difference in a stage of two runs: what differs, and the value on either side."""

    what: str
    here: str
    there: str

    def __str__(self) -> str:
        return f"{self.what}: {self.here} here, {self.there} there"


class Side:
    """One of the two runs, checked against its manifest."""

    def __init__(self, run: Path) -> None:
        if not (run / SPEC).is_file() or not (run / MANIFEST).is_file() or (run / WORK).exists():
            raise DamagedError(f"{run}: not a finished run; create or finish it with 'tmrepro run SPEC --out {run}'")
        findings = check_manifest(run)
        if findings:
            raise DamagedError(f"{run}: {told(run, findings)}")
        self.run = run
        self.spec: Spec = read_spec(run)
        paths = (path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
        self.files = {path: digest for path, digest in file_hashes(run, paths).items() if path not in TIMED}
        document = read_json(safe_path(run, PROVENANCE), name=f"{run}/{PROVENANCE}")
        self.provenance: Mapping[str, Any] = document if isinstance(document, dict) else {}
        self.code = recorded_code(stages_in(self.provenance))

    def path(self, relative: str) -> Path:
        """Return the path of a file of the run, which cannot be outside the run folder."""
        return safe_path(self.run, relative)

    def under(self, folder: str) -> dict[str, str]:
        """Return the compared files below `folder`, with their hashes."""
        return {path: digest for path, digest in self.files.items() if path.startswith(folder)}


def compare_spec(ours: Side, theirs: Side) -> Iterator[Difference]:
    """Yield the first field in which the specs differ."""
    found = first_difference(ours.spec, theirs.spec)
    if found is not None:
        if found.here is None or found.there is None:
            yield Difference(found.field, *_one_side(found.there is None))
        else:
            yield Difference(found.field, found.here, found.there)


def compare_code(ours: Side, theirs: Side) -> Iterator[Difference]:
    """Yield differences in files of the user's code. Versions of packages are a reason, not a difference of the run."""
    for model in dict.fromkeys([*ours.code, *theirs.code]):
        if (model in ours.code) != (model in theirs.code):
            yield Difference(f"code of {model}", *_one_side(model in ours.code))
            continue
        here, there = ours.code[model].files, theirs.code[model].files
        for file in sorted({*here, *there}):
            if file not in here or file not in there:
                yield Difference(file, *_one_side(file in here))
            elif here[file] != there[file]:
                yield Difference(file, *(f"SHA-256 {side[file][:16]}" for side in (here, there)))


def compare_data(ours: Side, theirs: Side) -> Iterator[Difference]:
    """Yield differences in what provenance.json records of the data."""
    here, there = (mapping(side.provenance.get("data")) for side in (ours, theirs))
    for name in ("name", "train", "validation", "classes", "fingerprint", "mean", "deviation"):
        yield from _value(Part(name, here.get(name), there.get(name)))


def compare_training(ours: Side, theirs: Side, model: str) -> Iterator[Difference]:
    """Yield the first epoch in which the histories differ, then the first tensor of theta*."""
    history, theta = model_file(model, HISTORY), model_file(model, THETA)
    if not (yield from _both_have(ours, theirs, history)):
        return
    histories = (load_history(side.path(history), name=f"{side.run}/{history}") for side in (ours, theirs))
    yield from _rows(*map(history_values, histories))
    if (yield from _differ(ours, theirs, theta)):
        tensors = [load_tensors(side.path(theta), name=f"{side.run}/{theta}") for side in (ours, theirs)]
        order = [str(entry[0]) for entry in mapping(ours.provenance.get("parameters")).get(model, []) if entry]
        ordered = {name: tensors[0][name] for name in order if name in tensors[0]} | tensors[0]
        for part in parts_of(ordered, tensors[1]):
            yield from _value(part, before="theta*, ")


def compare_minimum(ours: Side, theirs: Side, model: str) -> Iterator[Difference]:
    """Yield the first label of X~ that differs, then the fields of minimum.json."""
    labels, record = model_file(model, LABELS), model_file(model, MINIMUM)
    if (yield from _differ(ours, theirs, labels)):
        here, there = (load_labels(side.path(labels), name=f"{side.run}/{labels}") for side in (ours, theirs))
        yield from _value(Part(LABELS, here, there))
    if (yield from _differ(ours, theirs, record)):
        for part in parts_of(*(minimum_values(read_minimum(side.run, model)) for side in (ours, theirs))):
            yield from _value(part, before=f"{MINIMUM}, ")


def compare_trajectory(ours: Side, theirs: Side, model: str) -> Iterator[Difference]:
    """Yield the first point of the path of training that differs, then the other files of the path and of directions."""
    relative = model_file(model, TRAJECTORY)
    if (yield from _differ(ours, theirs, relative)):
        paths = (
            load_trajectory(side.run, model, surfaces=surfaces_around(side.spec, model)) for side in (ours, theirs)
        )
        yield from _rows(*map(trajectory_columns, paths), before=f"{TRAJECTORY}, ")
    files = {path for side in (ours, theirs) for path in side.under(f"models/{model}/") if is_of_path(path)}
    yield from _bytes(ours, theirs, sorted(files - {relative}))


def is_of_path(path: str) -> bool:
    """Return whether a file of a network belongs to its path of training or to stored directions."""
    folder, name = path.split("/")[2:3], path.rpartition("/")[2]
    return name == TRAJECTORY or folder == ["trajectory"] or name.startswith("directions-")


def compare_curvature(ours: Side, theirs: Side, model: str) -> Iterator[Difference]:
    """Yield the values of curvature.json that differ, then the eigenvectors."""
    if (yield from _differ(ours, theirs, model_file(model, CURVATURE))):
        for part in parts_of(*(curvature_values(side.run, model) for side in (ours, theirs))):
            yield from _value(part, before=f"{CURVATURE}, ")
    yield from _bytes(ours, theirs, [model_file(model, VECTORS)])


def compare_surface(ours: Side, theirs: Side, surface: str, model: str) -> Iterator[Difference]:
    """Yield differences in the attributes, in the axes, then, chunk by chunk, in the first point."""
    folder = f"{STORE}/{surface}/{model}/"
    if not (yield from _both_have(ours, theirs, f"{folder}zarr.json")) or ours.under(folder) == theirs.under(folder):
        return
    here, there = (surface_values(side.run, surface, model) for side in (ours, theirs))
    for part in parts_of(here, there):
        if part.name not in _AT_POINTS or here["loss"].shape != there["loss"].shape:
            yield from _value(part)
    chunk = next(drawn.spec.chunk for drawn in expand_surfaces(ours.spec) if drawn.name == surface)
    for index, rows, columns in chunk_slices(len(here["loss"]), chunk):
        for name in _AT_POINTS:
            part = Part(f"chunk {index[0]}/{index[1]}, {name}", *(side[name][rows, columns] for side in (here, there)))
            yield from _value(part, start=(rows.start, columns.start))


def compare_statistics(ours: Side, theirs: Side) -> Iterator[Difference]:
    """Yield the statistics that differ, or that only one run has."""
    if (yield from _differ(ours, theirs, STATISTICS)):
        stored = (read_statistics(side.run, name=f"{side.run}/{STATISTICS}") for side in (ours, theirs))
        for part in parts_of(*(flat(values, separator=" ") for values in stored)):
            yield from _value(part)


def compare_figures(ours: Side, theirs: Side) -> Iterator[Difference]:
    """Yield the first figure that differs; PNG before PDF, because its pixels can be counted."""
    names = sorted({*ours.under("figures/"), *theirs.under("figures/")}, key=lambda name: (name.endswith(".pdf"), name))
    for name in names:
        if (yield from _differ(ours, theirs, name)):
            yield Difference(f"{name}{_pixels(ours, theirs, name)}", *_hashes(ours, theirs, name))


def _pixels(ours: Side, theirs: Side, name: str) -> str:
    if not name.endswith(".png"):
        return ""
    here, there = (read_figure(side.run, name) for side in (ours, theirs))
    found = compare_png(there, here)
    return f" ({found.share_different:.2%} of the pixels)" if found.same_size else " (another size)"


def compare_files(ours: Side, theirs: Side, told: set[str]) -> Iterator[Difference]:
    """Yield differences in all other files, also in bytes that have the same meaning."""
    yield from _bytes(ours, theirs, sorted(({*ours.files} | {*theirs.files}) - told))


def _bytes(ours: Side, theirs: Side, paths: list[str]) -> Iterator[Difference]:
    for path in paths:
        if (yield from _differ(ours, theirs, path)):
            yield Difference(path, *_hashes(ours, theirs, path))


def _hashes(ours: Side, theirs: Side, path: str) -> tuple[str, str]:
    here, there = (f"SHA-256 {side.files[path][:16]}" for side in (ours, theirs))
    return here, there


def _both_have(ours: Side, theirs: Side, path: str) -> Generator[Difference, None, bool]:
    """Return whether both runs have the file. Yield a difference if only one of them has it."""
    if (path in ours.files) != (path in theirs.files):
        yield Difference(path, *_one_side(path in ours.files))
    return path in ours.files and path in theirs.files


def _differ(ours: Side, theirs: Side, path: str) -> Generator[Difference, None, bool]:
    """Return whether both runs have the file, with other bytes. Yield a difference if only one of them has it."""
    return (yield from _both_have(ours, theirs, path)) and ours.files[path] != theirs.files[path]


def _rows(here: Values, there: Values, *, before: str = "") -> Iterator[Difference]:
    """Yield the first row of a table with a column `epoch` in which a number differs, then a difference in length."""
    parts = list(parts_of(here, there))
    for part in parts:
        if part.ours is MISSING or part.theirs is MISSING:
            yield Difference(f"{before}column {part.name}", *_one_side(part.theirs is MISSING))
            return
    length = min(len(side["epoch"]) for side in (here, there))
    found = ((_odd(part.ours[:length], part.theirs[:length]), part.name) for part in parts)
    odd = [(int(rows[0, 0]), name) for rows, name in found if len(rows)]
    if odd:
        row = min(odd)[0]
        name, *others = [name for first, name in odd if first == row]
        also = f" (and {', '.join(others)})" if others else ""
        values = (repr(side[name][row].item()) for side in (here, there))
        yield Difference(f"{before}epoch {here['epoch'][row]:.0f}, {name}{also}", *values)
    lengths = [str(len(side["epoch"])) for side in (here, there)]
    if lengths[0] != lengths[1]:
        yield Difference(f"{before}epochs", *lengths)


def _odd(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return the indices [n, dimensions] of the numbers that differ in any bit. Shapes and types are the same."""
    bits = np.dtype(f"u{here.dtype.itemsize}")
    return np.argwhere(here.view(bits) != there.view(bits))


def _value(part: Part, *, before: str = "", start: tuple[int, ...] = ()) -> Iterator[Difference]:
    """Yield the difference of a value; of an array, the first number that differs in any bit, and how many do.

    `start` is the index of the array in a larger one.
    """
    what, here, there = f"{before}{part.name}", part.ours, part.theirs
    if part.is_identical:
        return
    if here is MISSING or there is MISSING:
        yield Difference(what, *_one_side(there is MISSING))
    elif not isinstance(here, np.ndarray) or not isinstance(there, np.ndarray):
        yield Difference(what, _shown(here), _shown(there))
    elif here.shape != there.shape or here.dtype != there.dtype:
        yield Difference(what, *(f"{side.dtype} {list(side.shape)}" for side in (here, there)))
    else:
        odd = _odd(here, there)
        first = tuple(int(index) for index in odd[0])
        place = [index + offset for index, offset in zip(first, start or (0,) * len(first), strict=True)]
        where = f", {'point ' if start else ''}{place}" if place else ""
        counted = f" ({len(odd)} of {here.size} {'differ' if len(odd) > 1 else 'differs'})" if here.size > 1 else ""
        yield Difference(f"{what}{where}{counted}", *(repr(side[first].item()) for side in (here, there)))


def _one_side(is_here: bool) -> tuple[str, str]:  # noqa: FBT001
    return ("there is one", "none") if is_here else ("none", "there is one")


def mapping(value: Any) -> Mapping[str, Any]:
    """Return `value` if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
