"""Compares one stage of two runs bit by bit. Each function yields the differences in the order in which they arise."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from tmrepro.errors import DamagedError
from tmrepro.records import Epoch
from tmrepro.reporting.figures import compare_png
from tmrepro.spec import Spec, expand_surfaces, first_difference
from tmrepro.spec.limits import FIGURE_BYTES
from tmrepro.store.atomic import WORK, read_bytes, safe_path, shown
from tmrepro.store.documents import load_history, read_json
from tmrepro.store.manifest import check_manifest, file_hashes, told
from tmrepro.store.minima import read_minimum
from tmrepro.store.run_files import (
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
    model_file,
)
from tmrepro.store.specs import read_spec
from tmrepro.store.stages import recorded_code, stages_in
from tmrepro.store.statistics import read_statistics
from tmrepro.store.surfaces import chunk_slices, read_surface
from tmrepro.store.tensors import load_labels, load_tensors
from tmrepro.store.trajectories import LIMIT_BYTES

_TIMED_COLUMN, _TIMED_KEY = "seconds", "_seconds"


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
        if here.get(name) != there.get(name):
            yield Difference(name, _shown(here.get(name)), _shown(there.get(name)))


def compare_training(ours: Side, theirs: Side, model: str) -> Iterator[Difference]:
    """Yield the first epoch in which the histories differ, then the first tensor of theta*."""
    history, theta = model_file(model, HISTORY), model_file(model, THETA)
    if not (yield from _both_have(ours, theirs, history)):
        return
    here, there = (load_history(side.path(history), name=f"{side.run}/{history}").epochs for side in (ours, theirs))
    for one, other in zip(here, there, strict=False):
        columns = [
            field.name
            for field in fields(Epoch)
            if field.name != _TIMED_COLUMN and repr(getattr(one, field.name)) != repr(getattr(other, field.name))
        ]
        if columns:
            also = f" (and {', '.join(columns[1:])})" if columns[1:] else ""
            yield Difference(
                f"epoch {one.epoch}, {columns[0]}{also}", *(repr(getattr(row, columns[0])) for row in (one, other))
            )
    if len(here) != len(there):
        yield Difference("epochs", str(len(here)), str(len(there)))
    if (yield from _both_have(ours, theirs, theta)) and ours.files[theta] != theirs.files[theta]:
        tensors = [load_tensors(side.path(theta), name=f"{side.run}/{theta}") for side in (ours, theirs)]
        order = [str(entry[0]) for entry in mapping(ours.provenance.get("parameters")).get(model, []) if entry]
        for name in dict.fromkeys([*(name for name in order if name in tensors[0]), *tensors[0], *tensors[1]]):
            yield from _arrays(f"theta*, {name}", tensors[0].get(name), tensors[1].get(name))


def compare_minimum(ours: Side, theirs: Side, model: str) -> Iterator[Difference]:
    """Yield the first label of X~ that differs, then the first key of minimum.json."""
    labels, record = model_file(model, LABELS), model_file(model, MINIMUM)
    if (yield from _both_have(ours, theirs, labels)) and ours.files[labels] != theirs.files[labels]:
        here, there = (load_labels(side.path(labels), name=f"{side.run}/{labels}") for side in (ours, theirs))
        yield from _arrays(LABELS, here, there)
    if (yield from _both_have(ours, theirs, record)) and ours.files[record] != theirs.files[record]:
        one, other = (asdict(read_minimum(side.run, model)) for side in (ours, theirs))
        for key in one:
            # The depths of planes follow from the surfaces, which come later.
            if key != "depth_below_minimum" and not key.endswith(_TIMED_KEY) and repr(one[key]) != repr(other[key]):
                yield Difference(f"{MINIMUM}, {key}", _shown(one[key]), _shown(other[key]))


def compare_trajectory(ours: Side, theirs: Side, model: str) -> Iterator[Difference]:
    """Yield the first row of the path of training that differs, then the first other file of the path or of directions."""
    relative = model_file(model, TRAJECTORY)
    if (relative in ours.files or relative in theirs.files) and (yield from _both_have(ours, theirs, relative)):
        here, there = (_lines(side, relative) for side in (ours, theirs))
        for number, (one, other) in enumerate(zip_longest(here, there, fillvalue=""), start=1):
            if one != other:
                yield Difference(f"{TRAJECTORY}, line {number}", one or "no such line", other or "no such line")
    files = {path for side in (ours, theirs) for path in side.under(f"models/{model}/") if is_of_path(path)}
    for path in sorted(files - {relative}):
        if (yield from _both_have(ours, theirs, path)) and ours.files[path] != theirs.files[path]:
            yield Difference(path, *(f"SHA-256 {side.files[path][:16]}" for side in (ours, theirs)))


def is_of_path(path: str) -> bool:
    """Return whether a file of a network belongs to its path of training or to stored directions."""
    folder, name = path.split("/")[2:3], path.rpartition("/")[2]
    return name == TRAJECTORY or folder == ["trajectory"] or name.startswith("directions-")


def _lines(side: Side, relative: str) -> list[str]:
    data = read_bytes(side.path(relative), limit_bytes=LIMIT_BYTES, name=f"{side.run}/{relative}")
    return [shown(line[:200]) for line in data.decode("ascii", errors="replace").splitlines()]


def compare_surface(ours: Side, theirs: Side, surface: str, model: str) -> Iterator[Difference]:
    """Yield differences in the attributes, in the axes, then, chunk by chunk, in the first point."""
    folder = f"{STORE}/{surface}/{model}/"
    if not (yield from _both_have(ours, theirs, f"{folder}zarr.json")) or ours.under(folder) == theirs.under(folder):
        return
    (values, facts, home, step), (others, other_facts, other_home, other_step) = (
        read_surface(side.run, surface, model) for side in (ours, theirs)
    )
    facts, other_facts = (replace(one, error=None) for one in (facts, other_facts))  # statistics.json has it
    one = _flat(asdict(facts)) | {"home": home, "step": step}
    other = _flat(asdict(other_facts)) | {"home": other_home, "step": other_step}
    for key in one:
        if repr(one[key]) != repr(other[key]):
            yield Difference(key, _shown(one[key]), _shown(other[key]))
    for axis in ("a", "b"):
        yield from _arrays(f"axis {axis}", getattr(values, axis), getattr(others, axis))
    if values.loss.shape == others.loss.shape:
        chunk = next(drawn.spec.chunk for drawn in expand_surfaces(ours.spec) if drawn.name == surface)
        for index, rows, columns in chunk_slices(len(values.a), chunk):
            for name in ("loss", "accuracy"):
                here, there = (getattr(side, name)[rows, columns] for side in (values, others))
                start = (rows.start, columns.start)
                yield from _arrays(f"chunk {index[0]}/{index[1]}, {name}", here, there, start=start, word="point ")


def compare_statistics(ours: Side, theirs: Side) -> Iterator[Difference]:
    """Yield the statistics that differ, or that only one run has."""
    if not (yield from _both_have(ours, theirs, STATISTICS)):
        return
    here, there = (
        _flat(read_statistics(side.run, name=f"{side.run}/{STATISTICS}"), separator=" ") for side in (ours, theirs)
    )
    for name in dict.fromkeys([*here, *there]):
        if name not in here or name not in there:
            yield Difference(name, *_one_side(name in here))
        elif repr(here[name]) != repr(there[name]):
            yield Difference(name, _shown(here[name]), _shown(there[name]))


def compare_figures(ours: Side, theirs: Side) -> Iterator[Difference]:
    """Yield the first figure that differs; PNG before PDF, because its pixels can be counted."""
    names = sorted({*ours.under("figures/"), *theirs.under("figures/")}, key=lambda name: (name.endswith(".pdf"), name))
    for name in names:
        if (yield from _both_have(ours, theirs, name)) and ours.files[name] != theirs.files[name]:
            words = [f"SHA-256 {side.files[name][:16]}" for side in (ours, theirs)]
            yield Difference(f"{name}{_pixels(ours, theirs, name)}", words[0], words[1])


def _pixels(ours: Side, theirs: Side, name: str) -> str:
    if not name.endswith(".png"):
        return ""
    here, there = (read_bytes(side.path(name), limit_bytes=FIGURE_BYTES, name=name) for side in (ours, theirs))
    found = compare_png(there, here)
    return f" ({found.share_different:.2%} of the pixels)" if found.same_size else " (another size)"


def compare_files(ours: Side, theirs: Side, told: set[str]) -> Iterator[Difference]:
    """Yield differences in all other files, also in bytes that have the same meaning."""
    for path in sorted(({*ours.files} | {*theirs.files}) - told):
        if (yield from _both_have(ours, theirs, path)) and ours.files[path] != theirs.files[path]:
            yield Difference(path, *(f"SHA-256 {side.files[path][:16]}" for side in (ours, theirs)))


def _both_have(ours: Side, theirs: Side, path: str) -> Generator[Difference, None, bool]:
    """Return whether both runs have the file. Yield a difference if only one of them has it."""
    if (path in ours.files) != (path in theirs.files):
        yield Difference(path, *_one_side(path in ours.files))
    return path in ours.files and path in theirs.files


def _arrays(
    what: str, here: np.ndarray | None, there: np.ndarray | None, *, start: tuple[int, ...] = (), word: str = ""
) -> Iterator[Difference]:
    """Yield the first number that differs in any bit, and how many do. `start` is the index of the block in its array."""
    if here is None or there is None:
        yield Difference(what, *_one_side(there is None))
    elif here.shape != there.shape or here.dtype != there.dtype:
        yield Difference(what, *(f"{side.dtype} {list(side.shape)}" for side in (here, there)))
    elif here.tobytes() != there.tobytes():
        bits = np.dtype(f"u{here.dtype.itemsize}")
        odd = np.argwhere(np.ascontiguousarray(here).view(bits) != np.ascontiguousarray(there).view(bits))
        first = tuple(int(index) for index in odd[0])
        place = [index + offset for index, offset in zip(first, start or (0,) * len(first), strict=True)]
        counted = f"{len(odd)} of {here.size}" if here.size > 1 else "it"
        differ = "differ" if len(odd) > 1 else "differs"
        yield Difference(
            f"{what}, {word}{place} ({counted} {differ})", *(repr(side[first].item()) for side in (here, there))
        )


def _one_side(is_here: bool) -> tuple[str, str]:  # noqa: FBT001
    return ("there is one", "none") if is_here else ("none", "there is one")


def _flat(tree: Mapping[str, Any], *, separator: str = ".") -> dict[str, Any]:
    """Return the leaves of nested objects by their paths."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= {f"{key}{separator}{inner}": leaf for inner, leaf in _flat(value, separator=separator).items()}
        else:
            found[key] = value
    return found


def mapping(value: Any) -> Mapping[str, Any]:
    """Return `value` if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
