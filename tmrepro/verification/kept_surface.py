"""Checks a surface that `tmrepro.loss_surface` keeps in a folder, without the network and the data.

It checks the checksums of chunks, the metadata and question.json, and that they describe the same grid. It reports the
statistics and the measured error; there is nothing to compare them with.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tmrepro.errors import ArtefactError
from tmrepro.records import Surface
from tmrepro.statistics import surface_statistics
from tmrepro.store import chunks
from tmrepro.store.atomic import WORK, safe_path, shown
from tmrepro.store.documents import read_json
from tmrepro.store.kept_surfaces import GROUP, QUESTION, kept_group, read_kept
from tmrepro.store.run_files import STORE
from tmrepro.store.zarr_files import chunk_key
from tmrepro.verification.level_integrity import MOST_FINDINGS
from tmrepro.verification.verdict import Check, Level, NumberComparison, Remarks

REMEDY = "to recompute it, repeat the same call of tmrepro.loss_surface"
NOTHING_TO_HOLD = (
    "this is a surface kept by tmrepro.loss_surface: without the network and the data, its values cannot be audited"
)
AT_THETA = "loss at theta*"  # a field of question.json: the mean over the first inputs, with four digits
DIGITS = 1e-3
EVEN = 1e-9  # relative: allowed rounding error of the steps of an evenly spaced axis


def check_kept(folder: Path, *, level: Level) -> tuple[list[Check], Remarks]:
    """Return the checks of a kept surface. Each finding names its file."""
    findings = list(_findings(folder))[:MOST_FINDINGS]
    if findings:
        return findings, Remarks()
    surface, attributes = read_kept(folder)
    checks = [
        Check("integrity", QUESTION, "identical", "its points are the stored points"),
        Check("integrity", STORE, "identical", f"checksums of {surface.loss.size} points are valid"),
    ]
    notes, warnings = [NOTHING_TO_HOLD], list[str]()
    if level != "integrity":
        checks.append(_statistics(surface, attributes))
        error = attributes.get("error_over_bound")
        if error is None:
            notes.append("its error was not measured")
        else:
            told = f"measured error: {error:.3g} of the bound |S - S64| <= 1e-5 (|S64| + 0.01)"
            (warnings if error > 1 else notes).append(told)
    return checks, Remarks(notes=tuple(notes), warnings=tuple(warnings))


def _findings(folder: Path) -> Iterator[Check]:
    """Yield missing, unexpected, damaged and inconsistent files."""
    if os.path.lexists(folder / WORK):
        yield _damaged(WORK, f"left by an unfinished computation; {REMEDY}")
    try:
        question = read_json(safe_path(folder, QUESTION), name=QUESTION)
        a, b, chunk = _asked(question)
    except ArtefactError as error:
        yield _damaged(QUESTION, str(error))
        return
    except (KeyError, TypeError, ValueError, OverflowError):
        yield _damaged(QUESTION, "expected the grid of a surface: axes a and b, ascending, and chunk")
        return
    try:
        expected = {QUESTION, *(f"{STORE}/{key}" for key in kept_group(folder).files())}
    except ArtefactError as error:
        yield _of(error, f"{STORE}/{GROUP}")
        return
    found = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    }
    found = {path for path in found if path.split("/")[0] != WORK}
    yield from (_damaged(path, f"missing; {REMEDY}") for path in sorted(expected - found))
    yield from (
        _damaged(path, "unexpected: a kept surface does not have this file") for path in sorted(found - expected)
    )
    if expected != found:
        return
    try:
        surface, attributes = read_kept(folder)
    except ArtefactError as error:
        yield _of(error, f"{STORE}/{GROUP}")
        return
    for axis, points in (("a", a), ("b", b)):
        if getattr(surface, axis).tobytes() != points.tobytes():
            yield _damaged(f"{STORE}/{GROUP}/{axis}/c/0", f"not the axis {axis} that {QUESTION} asks for")
    if chunk != (cut := kept_group(folder).layout.chunk):
        yield _damaged(QUESTION, f"asks for chunks of {chunk}, and {STORE} has chunks of {cut}")
    yield from _odd(surface, attributes, question, chunk=cut)


def _asked(question: Any) -> tuple[np.ndarray, np.ndarray, int]:
    grid = question["grid"]
    a, b = (np.array(grid[axis], dtype=np.float64) for axis in ("a", "b"))
    chunk = grid["chunk"]
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
        raise ValueError("chunk")
    for axis in (a, b):
        if axis.ndim != 1 or not axis.size or not np.all(np.isfinite(axis)) or not np.all(axis[1:] > axis[:-1]):
            raise ValueError("axis")
    return a, b, chunk


def _odd(
    surface: Surface, attributes: Mapping[str, Any], question: Mapping[str, Any], *, chunk: int
) -> Iterator[Check]:
    """Yield stored numbers that no computation can give, and differences between the two documents of the surface."""
    metadata = f"{STORE}/{GROUP}/zarr.json"
    for name in ("precision", "evaluator"):
        if name in attributes and name in question and attributes[name] != question[name]:
            yield _damaged(metadata, f"{name} is {_brief(attributes[name])}, {QUESTION} says {_brief(question[name])}")
    lengths: dict[str, Callable[[Any], bool]] = {
        **dict.fromkeys(("theta_norm", "delta_norm", "eta_norm", "error_over_bound"), _is_length),
        "images": lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 1,
    }
    for name, is_right in lengths.items():
        if attributes.get(name) is not None and not is_right(attributes[name]):
            yield _damaged(metadata, f"{name}: expected a number in its range, found {_brief(attributes[name])}")
    if "home" in attributes and _home(surface, attributes) is None:
        yield _damaged(metadata, f"home: expected the point a = b = 0, found {_brief(attributes['home'])}")
    for i, j in np.argwhere((surface.accuracy < 0) | (surface.accuracy > 1))[:1]:
        path = f"{STORE}/{chunk_key(GROUP, 'accuracy', (int(i) // chunk, int(j) // chunk))}"
        yield _damaged(path, f"expected shares of the images, found {surface.accuracy[i, j]:.6g} at ({i}, {j})")
    yield from _at_theta(surface, attributes, question, chunk=chunk)


def _at_theta(
    surface: Surface, attributes: Mapping[str, Any], question: Mapping[str, Any], *, chunk: int
) -> Iterator[Check]:
    """If question.json has the loss over all inputs at theta*, check that the surface has the same value."""
    from tmrepro.numerics.inference import EVALUATION_BATCH  # loads torch

    home, asked, images = _home(surface, attributes), question.get(AT_THETA), attributes.get("images")
    exact = question.get("precision") in {"float32", "float64"}
    if home is None or not isinstance(asked, str) or not isinstance(images, int) or not exact:
        return
    try:
        expected, found = float(asked), float(surface.loss[home])
    except ValueError:
        yield _damaged(QUESTION, f"{AT_THETA}: expected a number, found {_brief(asked)}")
        return
    both_odd = not math.isfinite(expected) and not math.isfinite(found)
    if images <= EVALUATION_BATCH and not both_odd and not abs(found - expected) <= DIGITS * abs(expected) + DIGITS**2:
        path = f"{STORE}/{chunk_key(GROUP, 'loss', (home[0] // chunk, home[1] // chunk))}"
        yield _damaged(path, f"{found:.6g} at theta*, and {QUESTION} says {asked}")


def _statistics(surface: Surface, attributes: Mapping[str, Any]) -> Check:
    """Return the statistics that follow from the surface. None are stored, so they have no grade."""
    subject = f"{STORE}/{GROUP}"
    home, steps = _home(surface, attributes), np.concatenate([np.diff(surface.a), np.diff(surface.b)])
    finite = surface.loss[np.isfinite(surface.loss)]
    said = f"{surface.loss.size} points, {surface.loss.size - finite.size} not finite"
    if home is None or not steps.size or np.ptp(steps) > EVEN * steps.max():
        why = "theta* is not a point of it" if home is None else "its axes do not have one common step"
        return Check("statistics", subject, "identical", f"{said}; it has no statistics: {why}")
    values = surface_statistics(surface, home=home, step=float(steps[0]))
    held = tuple(NumberComparison.of(("own", "model", name), value, None, None) for name, value in values.items())
    return Check("statistics", subject, "identical", f"{said}; {len(held)} statistics follow from it", numbers=held)


def _home(surface: Surface, attributes: Mapping[str, Any]) -> tuple[int, int] | None:
    match attributes.get("home"):
        case [int() as i, int() as j] if 0 <= i < len(surface.a) and 0 <= j < len(surface.b):
            return (i, j) if surface.a[i] == surface.b[j] == 0 else None
        case _:
            return None


def _is_length(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _of(error: ArtefactError, otherwise: str) -> Check:
    """Return a finding from the message of a reader, which begins with the path of the file."""
    path, colon, words = str(error).partition(": ")
    subject = path if colon and path.startswith((STORE, QUESTION)) else otherwise
    return _damaged(subject, (words if subject == path else str(error)).replace(chunks.REMEDY, REMEDY))


def _damaged(subject: str, detail: str) -> Check:
    return Check("integrity", shown(subject), "damaged", detail.removeprefix(f"{subject}: "))


def _brief(value: object) -> str:
    return shown(repr(value)[:60])
