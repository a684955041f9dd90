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
from tmrepro.store import chunks
from tmrepro.store.atomic import WORK, safe_path, work_folder
from tmrepro.store.documents import read_json, write_json
from tmrepro.store.layout import METADATA, Layout, consolidated, metadata_files
from tmrepro.store.litter import find_litter
from tmrepro.store.nodes import ChunkIndex, chunk_key, holds, read, write

QUESTION = "question.json"
GROUP = "own/model"

Block = tuple[Float64[np.ndarray, "I J"], Float64[np.ndarray, "I J"]]


def rectangle_slices(rows: int, columns: int, chunk: int) -> Iterator[tuple[ChunkIndex, slice, slice]]:
    """Every chunk of a grid of `rows` x `columns` points: its index, and the points it covers along a and along b."""
    for i in range(0, rows, chunk):
        for j in range(0, columns, chunk):
            yield (i // chunk, j // chunk), slice(i, min(i + chunk, rows)), slice(j, min(j + chunk, columns))


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
    """Make what is missing but the chunks, and put the question there last: the folder answers it from then on."""
    layout = Layout(K=len(a), K_b=len(b), chunk=chunk)
    files = metadata_files(GROUP, layout=layout, attributes=attributes)
    nodes = {METADATA: b'{"zarr_format": 3, "node_type": "group"}', **files}
    axes = {f"{GROUP}/{axis}/c/0": chunks.encode(points, shape=points.shape) for axis, points in (("a", a), ("b", b))}
    for key, data in {**files, **axes, METADATA: consolidated(nodes)}.items():
        if not holds(folder, key, data):
            write(folder, key, data)
    if not os.path.lexists(folder / QUESTION):
        write_json(folder / QUESTION, question, work=work_folder(folder))
    return layout


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
