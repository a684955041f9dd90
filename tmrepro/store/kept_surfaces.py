"""A folder that keeps one surface of `tmrepro.loss_surface`, chunk by chunk, so that an interrupted surface can be continued.

    FOLDER/question.json      hashes of the arguments; a folder keeps one surface
    FOLDER/surfaces.zarr/     group own/model, as in a run folder but not always square

The caller holds the lock.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from tmrepro.errors import DamagedError, UsageError
from tmrepro.records import Surface, SurfaceError
from tmrepro.spec.limits import MOST_CHUNKS
from tmrepro.store.atomic import WORK, remove, safe_path, work_folder
from tmrepro.store.documents import read_json, write_json
from tmrepro.store.litter import find_litter
from tmrepro.store.run_files import STORE
from tmrepro.store.surface_group import SurfaceGroup
from tmrepro.store.zarr_files import holds, read_metadata, write
from tmrepro.store.zarr_metadata import (
    METADATA,
    Layout,
    chunk_count,
    consolidated,
    error_attributes,
    read_error,
    read_group,
)

QUESTION = "question.json"
GROUP = "own/model"


def refuse_many_chunks(rows: int, columns: int, chunk: int) -> None:
    """Raise UsageError if a surface has too many chunks of this size.

    Raises:
        UsageError: there would be too many files.
    """
    if (count := chunk_count(rows, columns, chunk)) > MOST_CHUNKS:
        raise UsageError(
            f"chunk: cuts {rows} x {columns} points into {count} chunks; a folder can keep at most {MOST_CHUNKS}: "
            "increase chunk"
        )


def check_question(folder: Path, question: Mapping[str, Any]) -> None:
    """Raise UsageError unless `folder` is empty, or keeps the surface of `question`.

    Raises:
        UsageError: the folder has other content.
        DamagedError: its question.json cannot be read.
    """
    if not os.path.lexists(folder / QUESTION):
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        found = [name for name in names if name != WORK and not find_litter(name)]
        if found or (folder.exists() and not folder.is_dir()):
            raise UsageError(
                f"out: {folder} has other content ({found[0] if found else 'a file'}); choose another folder"
            )
        return
    kept = read_json(safe_path(folder, QUESTION), name=QUESTION)
    if not isinstance(kept, dict):
        raise DamagedError(f"{folder / QUESTION}: expected an object")
    for name in dict.fromkeys([*question, *kept]):
        if kept.get(name) != question.get(name):
            raise UsageError(
                f"out: {folder} keeps another surface (changed: {name}); choose another folder, or remove this one"
            )


def open_kept(
    folder: Path,
    question: Mapping[str, Any],
    *,
    a: Float64[np.ndarray, " I"],
    b: Float64[np.ndarray, " J"],
    chunk: int,
    attributes: Mapping[str, Any],
) -> SurfaceGroup:
    """Create the folder and the metadata, and write question.json last. Chunks are not created.

    The measured error of a stored surface stays in the attributes.
    """
    group = SurfaceGroup(folder, GROUP, Layout(K=len(a), K_b=len(b), chunk=chunk))
    measured = error_attributes(kept_error(folder, shape=(len(a), len(b))))
    files = group.metadata({**attributes, **measured} if measured else attributes)
    nodes = {METADATA: b'{"zarr_format": 3, "node_type": "group"}', **files}
    axes = group.axis_files(a, b)
    for key, data in {**files, **axes, METADATA: consolidated(nodes)}.items():
        if not holds(folder, key, data):
            write(folder, key, data)
    if not os.path.lexists(folder / QUESTION):
        write_json(folder / QUESTION, question, work=work_folder(folder))
    return group


def kept_error(folder: Path, *, shape: tuple[int, int]) -> SurfaceError | None:
    """Return the measured error of the surface [*shape] in a folder; None if it is missing or damaged."""
    key = f"{GROUP}/{METADATA}"
    try:
        attributes = read_group(read_metadata(folder, key), name=key)
        return read_error(attributes, shape=shape, name=key) if isinstance(attributes, dict) else None
    except DamagedError:
        return None


def kept_question(folder: Path) -> dict[str, Any]:
    """Return the question in a folder; an empty dict if there is none.

    Raises:
        DamagedError: it cannot be read.
    """
    if not os.path.lexists(folder / QUESTION):
        return {}
    found = read_json(safe_path(folder, QUESTION), name=QUESTION)
    return found if isinstance(found, dict) else {}


def forget_kept(folder: Path) -> None:
    """Remove the surface, but not the question."""
    remove(safe_path(folder, STORE))


def kept_group(folder: Path) -> SurfaceGroup:
    """Return the kept surface.

    Raises:
        DamagedError: its metadata is missing or invalid.
    """
    return SurfaceGroup.stored(folder, GROUP, square=False)


def read_kept(folder: Path) -> tuple[Surface, dict[str, Any]]:
    """Read a complete kept surface and its attributes, from a folder that may be hostile.

    Raises:
        DamagedError: invalid metadata, a missing chunk, a checksum that differs, or a link.
    """
    group = kept_group(folder)
    read_group(read_metadata(folder, METADATA), name=f"{STORE}/{METADATA}", root=True)
    attributes = group.check_metadata()
    if not isinstance(attributes, dict):
        raise DamagedError(f"{STORE}/{GROUP}/{METADATA}: expected the attributes of a surface, found none")
    group.check_consolidated()
    a, b = group.axes()
    loss, accuracy = group.values()
    return Surface(loss=loss, accuracy=accuracy, a=a, b=b), attributes
