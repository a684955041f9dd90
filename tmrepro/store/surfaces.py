"""surfaces.zarr: one group SURFACE/MODEL per surface, written chunk by chunk, read without trusting a byte of it.

A chunk is the unit of work, of resume and of integrity. It is done when both of its files are there and whole, never
because something says so; a damaged one is not done, and is computed again.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from tmrepro.errors import DamagedError
from tmrepro.records import Grid, Surface, SurfaceFacts
from tmrepro.store import chunks
from tmrepro.store.atomic import remove, safe_path
from tmrepro.store.layout import (
    ARRAYS,
    ERROR_ATTRIBUTES,
    METADATA,
    Layout,
    attributes_of,
    check_array,
    consolidated,
    metadata_files,
    read_attributes,
    read_group,
)
from tmrepro.store.nodes import (
    METADATA_LIMIT_BYTES,
    ChunkIndex,
    chunk_key,
    folders,
    group_key,
    holds,
    read,
    read_metadata,
    root_is_group,
    stored_layout,
    write,
)
from tmrepro.store.run_files import STORE


def create_surface(run: Path, surface: str, model: str, *, grid: Grid, chunk: int, facts: SurfaceFacts) -> None:
    """Make the group SURFACE/MODEL with its axes, and no chunk of loss or accuracy yet.

    Where this surface is there already (by its metadata: grid, facts, chunks), its chunks stay and only what differs beside
    them is written again; the measured error, which is known last, is put there so. Where another one is (another grid,
    another theta*), it goes, with its chunks: they answer a question that nobody asks any more.

    Raises:
        StorageError: the folder cannot be written.
    """
    K = len(grid.a)
    if len(grid.b) != K:
        raise ValueError(f"expected as many points along b as along a ({K}), got {len(grid.b)}")
    layout = Layout(K=K, chunk=min(chunk, K))
    group = group_key(surface, model)
    files = metadata_files(group, layout=layout, attributes=attributes_of(facts, home=grid.home, step=grid.step))
    above = {key: data for key, data in files.items() if not key.startswith(f"{group}/")}
    own = {key: data for key, data in files.items() if key not in above}
    axes = {
        f"{group}/{array}/c/0": chunks.encode(points, shape=layout.chunk_shape(array))
        for array, points in (("a", grid.a), ("b", grid.b))
    }
    here = f"{group}/{METADATA}"
    if all(holds(run, key, data) or (key == here and _differs_in_error(run, key, data)) for key, data in own.items()):
        if root_is_group(run):
            del above[METADATA]
    else:
        remove(safe_path(run, f"{STORE}/{group}"))
    for key, data in {**above, **axes, **own}.items():
        if not holds(run, key, data):
            write(run, key, data)


def _differs_in_error(run: Path, key: str, data: bytes) -> bool:
    """Whether a surface's zarr.json is `data` but for the measured error, or its absence."""
    try:
        found = read_metadata(run, key)
    except DamagedError:
        return False
    return bool(_without_error(found) == _without_error(json.loads(data)))


def _without_error(document: dict[str, Any]) -> dict[str, Any]:
    attributes = document.get("attributes")
    if not isinstance(attributes, dict):
        return document
    return document | {"attributes": {key: value for key, value in attributes.items() if key not in ERROR_ATTRIBUTES}}


def chunk_slices(K: int, chunk: int) -> list[tuple[ChunkIndex, slice, slice]]:
    """Every chunk of a K x K grid in row-major order: its index, and the points it covers along a and along b."""
    chunk = min(chunk, K)
    parts = [slice(start, min(start + chunk, K)) for start in range(0, K, chunk)]
    return [((ci, cj), i, j) for ci, i in enumerate(parts) for cj, j in enumerate(parts)]


def write_chunk(
    run: Path,
    surface: str,
    model: str,
    index: ChunkIndex,
    loss: Float64[np.ndarray, "h w"],
    accuracy: Float64[np.ndarray, "h w"],
) -> None:
    """Store one chunk, durably; both arrays have the shape that `chunk_slices` gives for `index`.

    Raises:
        StorageError: the folder cannot be written.
        DamagedError: the surface was not created, or its metadata is damaged.
    """
    group = group_key(surface, model)
    layout = stored_layout(run, group)
    wanted = _block_shape(layout, index)
    for array, block in (("loss", loss), ("accuracy", accuracy)):
        if block.shape != wanted:
            raise ValueError(f"chunk {index} of {group}: expected {array} of shape {wanted}, got {block.shape}")
        write(run, chunk_key(group, array, index), chunks.encode(block, shape=layout.chunk_shape(array)))


def chunk_is_whole(run: Path, surface: str, model: str, index: ChunkIndex) -> bool:
    """Whether both files of a chunk are there and pass their checksums; what is damaged counts as not there."""
    group = group_key(surface, model)
    try:
        layout = stored_layout(run, group)
        _block_shape(layout, index)
        for array in ("loss", "accuracy"):
            read_chunk_file(run, chunk_key(group, array, index), shape=layout.chunk_shape(array))
    except DamagedError:
        return False
    return True


def read_part(run: Path, surface: str, model: str, *, grid: Grid) -> Surface:
    """What is there so far of a surface that is being written here; nan where a chunk is still missing or damaged."""
    group = group_key(surface, model)
    layout = stored_layout(run, group)
    values = {array: np.full(layout.shape(array), np.nan) for array in ("loss", "accuracy")}
    for index, rows, columns in chunk_slices(layout.K, layout.chunk):
        for array, whole in values.items():
            with contextlib.suppress(DamagedError):
                block = read_chunk_file(run, chunk_key(group, array, index), shape=layout.chunk_shape(array))
                whole[rows, columns] = block[: rows.stop - rows.start, : columns.stop - columns.start]
    return Surface(**values, a=grid.a, b=grid.b)


def read_surface(run: Path, surface: str, model: str) -> tuple[Surface, SurfaceFacts, tuple[int, int], float]:
    """A whole surface from a store that somebody else may have written, with its facts, home and step.

    Raises:
        DamagedError: metadata that we would not have written, a missing chunk, a checksum that differs, a link.
        UsageError: a name that no surface can have.
    """
    group = group_key(surface, model)
    read_group(read_metadata(run, METADATA), name=f"{STORE}/{METADATA}", root=True)
    layout, facts, home, step = _checked_metadata(run, surface, model)
    check_consolidated(run, group)
    axes = {
        array: read_chunk_file(run, f"{group}/{array}/c/0", shape=layout.chunk_shape(array)) for array in ("a", "b")
    }
    for array, points in axes.items():
        with np.errstate(over="ignore", invalid="ignore"):
            steps = np.diff(points)
        if not np.all(np.isfinite(points)) or not np.all((steps > 0) & np.isfinite(steps)):
            raise DamagedError(
                f"{STORE}/{group}/{array}/c/0: expected finite coordinates, each above the one before it"
            )
    loss, accuracy = (_read_array(run, group, array=array, layout=layout) for array in ("loss", "accuracy"))
    return Surface(loss=loss, accuracy=accuracy, a=axes["a"], b=axes["b"]), facts, home, step


def read_facts(run: Path, surface: str, model: str) -> SurfaceFacts:
    """What a surface's metadata says of it, without a look at its chunks.

    Raises:
        DamagedError: metadata that we would not have written.
    """
    return _checked_metadata(run, surface, model)[1]


def consolidate(run: Path) -> None:
    """Put the metadata of all surfaces into the root's zarr.json, from which xarray opens them without a warning.

    Raises:
        DamagedError: a surface's metadata is damaged.
        StorageError: the folder cannot be written.
    """
    nodes = {METADATA: b'{"zarr_format": 3, "node_type": "group"}'}
    for surface, model in list_surfaces(run):
        group = group_key(surface, model)
        # It says nothing but that it is a group. Taken over from another run, or damaged since, it is written anew.
        above = f"{surface}/{METADATA}"
        plain = metadata_files(group, layout=Layout(K=1, chunk=1), attributes={})[above]
        if not holds(run, above, plain):
            write(run, above, plain)
        _checked_metadata(run, surface, model)
        for node in (surface, group, *(f"{group}/{array}" for array in ARRAYS)):
            nodes[f"{node}/{METADATA}"] = read(run, f"{node}/{METADATA}", limit_bytes=METADATA_LIMIT_BYTES)
    data = consolidated(nodes)
    if not holds(run, METADATA, data):
        write(run, METADATA, data)


def list_surfaces(run: Path) -> list[tuple[str, str]]:
    """Every (SURFACE, MODEL) that has a folder, in order of their names; none where there is no store yet.

    Raises:
        DamagedError: a folder with a name that no surface or model can have, or a link.
    """
    return [(surface, model) for surface in folders(run, STORE) for model in folders(run, f"{STORE}/{surface}")]


def _checked_metadata(run: Path, surface: str, model: str) -> tuple[Layout, SurfaceFacts, tuple[int, int], float]:
    """What the metadata of a surface says, once every zarr.json of it is found to be one that we would write."""
    group = group_key(surface, model)
    read_group(read_metadata(run, f"{surface}/{METADATA}"), name=f"{STORE}/{surface}/{METADATA}")
    name = f"{STORE}/{group}/{METADATA}"
    attributes = read_group(read_metadata(run, f"{group}/{METADATA}"), name=name)
    layout = stored_layout(run, group)
    for array in ARRAYS:
        key = f"{group}/{array}/{METADATA}"
        check_array(read_metadata(run, key), array=array, layout=layout, name=f"{STORE}/{key}")
    return layout, *read_attributes(attributes, K=layout.K, name=name)


def _block_shape(layout: Layout, index: ChunkIndex) -> tuple[int, int]:
    height, width = (min(layout.chunk, layout.K - part * layout.chunk) for part in index)
    if min(index) < 0 or height < 1 or width < 1:
        raise ValueError(f"no chunk {index} in a {layout.K} x {layout.K} grid of chunks of {layout.chunk}")
    return (height, width)


def _read_array(run: Path, group: str, *, array: str, layout: Layout) -> Float64[np.ndarray, "K K"]:
    whole = np.empty(layout.shape(array), dtype=np.float64)
    for index, i, j in chunk_slices(layout.K, layout.chunk):
        block = read_chunk_file(run, chunk_key(group, array, index), shape=layout.chunk_shape(array))
        whole[i, j] = block[: i.stop - i.start, : j.stop - j.start]
    return whole


def read_chunk_file(run: Path, key: str, *, shape: tuple[int, ...]) -> Float64[np.ndarray, "*_"]:
    """The content of the chunk file under `key`, whose array has chunks of `shape`.

    Raises:
        DamagedError: it is missing, a link, or not such a chunk.
    """
    try:
        data = read(run, key, limit_bytes=chunks.limit_bytes(shape))
    except DamagedError as error:
        raise DamagedError(f"{error}; {chunks.REMEDY}") from error
    return chunks.decode(data, shape=shape, name=f"{STORE}/{key}")


def check_consolidated(run: Path, group: str) -> None:
    """What xarray reads is the root's copy of the metadata, what we read the originals: they must tell one story.

    Raises:
        DamagedError: they do not.
    """
    match read_metadata(run, METADATA).get("consolidated_metadata"):
        case None:
            return
        case {"metadata": dict() as copies}:
            for node in (group, *(f"{group}/{array}" for array in ARRAYS)):
                copy = copies.get(node)
                # The copy of a group says in addition that it holds no copies itself.
                own = {"consolidated_metadata": copy.get("consolidated_metadata")} if isinstance(copy, dict) else {}
                if copy not in (found := read_metadata(run, f"{node}/{METADATA}"), {**found, **own}):
                    raise DamagedError(f"{STORE}/{METADATA}: its copy of {node}/{METADATA} differs from that file")
        case _:
            raise DamagedError(f"{STORE}/{METADATA}: expected consolidated metadata, found something else")
