"""A folder that keeps one surface of `tmrepro.loss_surface`, chunk by chunk, so that an interrupted one continues.

    FOLDER/question.json      what was asked, by hashes; a folder answers one question
    FOLDER/surfaces.zarr/     group own/model, as in a run folder but not always square

The caller holds the lock. A chunk is done when both of its files are there and whole, as in a run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from tmrepro.errors import DamagedError, UsageError
from tmrepro.limits import MOST_CHUNKS
from tmrepro.records import Surface, SurfaceError
from tmrepro.store import chunks
from tmrepro.store.atomic import WORK, remove, safe_path, work_folder
from tmrepro.store.documents import read_json, write_json
from tmrepro.store.layout import (
    ARRAYS,
    METADATA,
    Layout,
    check_array,
    chunk_count,
    consolidated,
    error_attributes,
    metadata_files,
    read_error,
    read_group,
    read_rectangle_layout,
)
from tmrepro.store.litter import find_litter
from tmrepro.store.nodes import ChunkIndex, chunk_key, holds, read, read_metadata, write
from tmrepro.store.run_files import STORE
from tmrepro.store.surfaces import check_consolidated, read_chunk_file

QUESTION = "question.json"
GROUP = "own/model"

Block = tuple[Float64[np.ndarray, "I J"], Float64[np.ndarray, "I J"]]


def rectangle_slices(rows: int, columns: int, chunk: int) -> Iterator[tuple[ChunkIndex, slice, slice]]:
    """Every chunk of a grid of `rows` x `columns` points: its index, and the points it covers along a and along b."""
    for i in range(0, rows, chunk):
        for j in range(0, columns, chunk):
            yield (i // chunk, j // chunk), slice(i, min(i + chunk, rows)), slice(j, min(j + chunk, columns))


def refuse_many_chunks(rows: int, columns: int, chunk: int) -> None:
    """Nothing, if a surface may be kept in chunks of this size, so that every reader takes it.

    Raises:
        UsageError: it would fall into too many files.
    """
    if (count := chunk_count(rows, columns, chunk)) > MOST_CHUNKS:
        raise UsageError(
            f"chunk: cuts {rows} x {columns} points into {count} chunks; at most {MOST_CHUNKS} are kept in a folder: "
            "raise chunk"
        )


def check_question(folder: Path, question: Mapping[str, Any]) -> None:
    """Nothing, if `folder` is empty, or keeps the answer to `question`.

    Raises:
        UsageError: it keeps something else.
        DamagedError: its question.json cannot be read.
    """
    if not os.path.lexists(folder / QUESTION):
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        found = [name for name in names if name != WORK and not find_litter(name)]
        if found or (folder.exists() and not folder.is_dir()):
            raise UsageError(
                f"out: {folder} holds something else ({found[0] if found else 'a file'}); choose another folder"
            )
        return
    kept = read_json(safe_path(folder, QUESTION), name=QUESTION)
    if not isinstance(kept, dict):
        raise DamagedError(f"{folder / QUESTION}: expected an object")
    for name in dict.fromkeys([*question, *kept]):
        if kept.get(name) != question.get(name):
            raise UsageError(
                f"out: {folder} keeps another surface, of other {name}; choose another folder, or remove this one"
            )


def open_rectangle(
    folder: Path,
    question: Mapping[str, Any],
    *,
    a: Float64[np.ndarray, " I"],
    b: Float64[np.ndarray, " J"],
    chunk: int,
    attributes: Mapping[str, Any],
) -> Layout:
    """Make what is missing but the chunks, and put the question there last: the folder answers it from then on.

    An error that was measured stays among the attributes.
    """
    layout = Layout(K=len(a), K_b=len(b), chunk=chunk)
    measured = error_attributes(kept_error(folder, shape=(len(a), len(b))))
    files = metadata_files(GROUP, layout=layout, attributes={**attributes, **measured} if measured else attributes)
    nodes = {METADATA: b'{"zarr_format": 3, "node_type": "group"}', **files}
    axes = {f"{GROUP}/{axis}/c/0": chunks.encode(points, shape=points.shape) for axis, points in (("a", a), ("b", b))}
    for key, data in {**files, **axes, METADATA: consolidated(nodes)}.items():
        if not holds(folder, key, data):
            write(folder, key, data)
    if not os.path.lexists(folder / QUESTION):
        write_json(folder / QUESTION, question, work=work_folder(folder))
    return layout


def kept_error(folder: Path, *, shape: tuple[int, int]) -> SurfaceError | None:
    """The measured error of the surface [*shape] that a folder keeps; None where there is none, or a damaged one."""
    key = f"{GROUP}/{METADATA}"
    try:
        attributes = read_group(read_metadata(folder, key), name=key)
        return read_error(attributes, shape=shape, name=key) if isinstance(attributes, dict) else None
    except DamagedError:
        return None


def kept_question(folder: Path) -> dict[str, Any]:
    """The question that a folder keeps; empty where there is none.

    Raises:
        DamagedError: it cannot be read.
    """
    if not os.path.lexists(folder / QUESTION):
        return {}
    found = read_json(safe_path(folder, QUESTION), name=QUESTION)
    return found if isinstance(found, dict) else {}


def forget_rectangle(folder: Path) -> None:
    """Remove the surface, and leave the question."""
    remove(safe_path(folder, STORE))


def rectangle_layout(folder: Path) -> Layout:
    """How the kept surface is cut.

    Raises:
        DamagedError: its metadata is missing, or none that we would write.
    """
    key = f"{GROUP}/loss/{METADATA}"
    return read_rectangle_layout(read_metadata(folder, key), name=f"{STORE}/{key}")


def rectangle_files(folder: Path) -> list[str]:
    """Every file of a whole kept surface but question.json, relative to `folder`."""
    layout = rectangle_layout(folder)
    rows, columns = layout.shape("loss")
    keys = [METADATA, f"{GROUP.split('/', maxsplit=1)[0]}/{METADATA}", f"{GROUP}/{METADATA}"]
    keys += [f"{GROUP}/{array}/{METADATA}" for array in ARRAYS]
    keys += [f"{GROUP}/{axis}/c/0" for axis in ("a", "b")]
    for index, _, _ in rectangle_slices(rows, columns, layout.chunk):
        keys += [chunk_key(GROUP, array, index) for array in ("loss", "accuracy")]
    return [f"{STORE}/{key}" for key in keys]


def read_rectangle(folder: Path) -> tuple[Surface, dict[str, Any]]:
    """A whole kept surface and its attributes, from a folder that somebody else may have made.

    Raises:
        DamagedError: metadata that we would not have written, a missing chunk, a checksum that differs, a link.
    """
    layout = rectangle_layout(folder)
    above = GROUP.split("/", maxsplit=1)[0]
    read_group(read_metadata(folder, METADATA), name=f"{STORE}/{METADATA}", root=True)
    for group in (above, GROUP):
        key = f"{group}/{METADATA}"
        attributes = read_group(read_metadata(folder, key), name=f"{STORE}/{key}")
    for array in ARRAYS:
        key = f"{GROUP}/{array}/{METADATA}"
        check_array(read_metadata(folder, key), array=array, layout=layout, name=f"{STORE}/{key}")
    if not isinstance(attributes, dict):
        raise DamagedError(f"{STORE}/{GROUP}/{METADATA}: expected the attributes of a surface, found none")
    check_consolidated(folder, GROUP)
    a, b = (read_chunk_file(folder, f"{GROUP}/{axis}/c/0", shape=layout.shape(axis)) for axis in ("a", "b"))
    values = {array: np.empty(layout.shape(array)) for array in ("loss", "accuracy")}
    for index, rows, columns in rectangle_slices(len(a), len(b), layout.chunk):
        for array, whole in values.items():
            block = read_chunk_file(folder, chunk_key(GROUP, array, index), shape=layout.chunk_shape(array))
            whole[rows, columns] = block[: rows.stop - rows.start, : columns.stop - columns.start]
    return Surface(**values, a=a, b=b), attributes


def write_block(folder: Path, index: ChunkIndex, block: Block, *, layout: Layout) -> None:
    """Keep loss and accuracy of one chunk, durably."""
    for array, values in zip(("loss", "accuracy"), block, strict=True):
        write(folder, chunk_key(GROUP, array, index), chunks.encode(values, shape=layout.chunk_shape(array)))


def read_block(folder: Path, index: ChunkIndex, *, shape: tuple[int, int], layout: Layout) -> Block | None:
    """Loss and accuracy of one chunk [*shape]; None where a file is missing or damaged."""
    try:
        loss, accuracy = (
            chunks.decode(
                read(folder, chunk_key(GROUP, array, index), limit_bytes=chunks.limit_bytes(layout.chunk_shape(array))),
                shape=layout.chunk_shape(array),
                name=chunk_key(GROUP, array, index),
            )[: shape[0], : shape[1]]
            for array in ("loss", "accuracy")
        )
    except DamagedError:
        return None
    return loss, accuracy
