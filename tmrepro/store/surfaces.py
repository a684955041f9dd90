"""surfaces.zarr of a run: one group SURFACE/MODEL per surface (surface_group.py), read without trust."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tmrepro.errors import DamagedError
from tmrepro.records import Grid, Surface, SurfaceFacts
from tmrepro.store.atomic import remove, safe_path
from tmrepro.store.run_files import STORE
from tmrepro.store.surface_group import SurfaceGroup
from tmrepro.store.zarr_files import (
    METADATA_LIMIT_BYTES,
    folders,
    group_key,
    holds,
    read,
    read_metadata,
    root_is_group,
    write,
)
from tmrepro.store.zarr_metadata import (
    ARRAYS,
    ERROR_ATTRIBUTES,
    METADATA,
    ChunkIndex,
    Layout,
    attributes_of,
    consolidated,
    metadata_files,
    read_attributes,
    read_group,
)


def create_surface(run: Path, surface: str, model: str, *, grid: Grid, chunk: int, facts: SurfaceFacts) -> SurfaceGroup:
    """Make the group SURFACE/MODEL with its axes, and no chunk of loss or accuracy yet. Return it.

    If this surface exists already (the same grid, facts and chunks in its metadata), its chunks stay, and only other files that
    differ are rewritten. This also adds the measured error, which is known last. Another surface (another grid, another
    theta*) is removed with its chunks, which are no longer needed.

    Raises:
        StorageError: the folder cannot be written.
    """
    K = len(grid.a)
    if len(grid.b) != K:
        raise ValueError(f"expected as many points along b as along a ({K}), got {len(grid.b)}")
    group = SurfaceGroup(run, group_key(surface, model), Layout(K=K, chunk=min(chunk, K)))
    files = group.metadata(attributes_of(facts, home=grid.home, step=grid.step))
    above = {key: data for key, data in files.items() if not key.startswith(f"{group.name}/")}
    own = {key: data for key, data in files.items() if key not in above}
    here = f"{group.name}/{METADATA}"
    if all(holds(run, key, data) or (key == here and _differs_in_error(run, key, data)) for key, data in own.items()):
        if root_is_group(run):
            del above[METADATA]
    else:
        remove(safe_path(run, f"{STORE}/{group.name}"))
    for key, data in {**above, **group.axis_files(grid.a, grid.b), **own}.items():
        if not holds(run, key, data):
            write(run, key, data)
    return group


def _differs_in_error(run: Path, key: str, data: bytes) -> bool:
    """Return whether a surface's zarr.json equals `data`, apart from the measured error."""
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
    """Return every chunk of a K x K grid in row-major order: its index, and its points along a and along b."""
    return list(Layout(K=K, chunk=min(chunk, K)).chunks())


def open_surface(run: Path, surface: str, model: str) -> SurfaceGroup:
    """Return the group of an existing surface.

    Raises:
        DamagedError: its metadata is missing or damaged.
        UsageError: a surface cannot have that name.
    """
    return SurfaceGroup.stored(run, group_key(surface, model))


def read_part(run: Path, surface: str, model: str, *, grid: Grid) -> Surface:
    """Return the points of an unfinished surface that are computed so far, with nan in missing or damaged chunks."""
    loss, accuracy = open_surface(run, surface, model).part()
    return Surface(loss=loss, accuracy=accuracy, a=grid.a, b=grid.b)


def read_surface(run: Path, surface: str, model: str) -> tuple[Surface, SurfaceFacts, tuple[int, int], float]:
    """Return a complete surface from a store that may be hostile, with its facts, home and step.

    Raises:
        DamagedError: invalid metadata, a missing chunk, a checksum that differs, or a link.
        UsageError: a surface cannot have that name.
    """
    name = group_key(surface, model)
    read_group(read_metadata(run, METADATA), name=f"{STORE}/{METADATA}", root=True)
    group = SurfaceGroup.stored(run, name)
    facts, home, step = _facts(group)
    group.check_consolidated()
    a, b = group.axes()
    for axis, points in (("a", a), ("b", b)):
        with np.errstate(over="ignore", invalid="ignore"):
            steps = np.diff(points)
        if not np.all(np.isfinite(points)) or not np.all((steps > 0) & np.isfinite(steps)):
            raise DamagedError(
                f"{STORE}/{group.name}/{axis}/c/0: expected finite coordinates, each above the one before it"
            )
    loss, accuracy = group.values()
    return Surface(loss=loss, accuracy=accuracy, a=a, b=b), facts, home, step


def read_facts(run: Path, surface: str, model: str) -> SurfaceFacts:
    """Return the facts in a surface's metadata, without reading its chunks.

    Raises:
        DamagedError: the metadata is invalid.
    """
    return _facts(open_surface(run, surface, model))[0]


def consolidate(run: Path) -> None:
    """Copy the metadata of all surfaces into the root's zarr.json, so that xarray opens them without a warning.

    Raises:
        DamagedError: a surface's metadata is damaged.
        StorageError: the folder cannot be written.
    """
    nodes = {METADATA: b'{"zarr_format": 3, "node_type": "group"}'}
    for surface, model in list_surfaces(run):
        group = group_key(surface, model)
        # It only states that it is a group. If it is a copy from another run, or damaged, it is rewritten.
        above = f"{surface}/{METADATA}"
        plain = metadata_files(group, layout=Layout(K=1, chunk=1), attributes={})[above]
        if not holds(run, above, plain):
            write(run, above, plain)
        _facts(open_surface(run, surface, model))
        for node in (surface, group, *(f"{group}/{array}" for array in ARRAYS)):
            nodes[f"{node}/{METADATA}"] = read(run, f"{node}/{METADATA}", limit_bytes=METADATA_LIMIT_BYTES)
    data = consolidated(nodes)
    if not holds(run, METADATA, data):
        write(run, METADATA, data)


def list_surfaces(run: Path) -> list[tuple[str, str]]:
    """Return every (SURFACE, MODEL) that has a folder, sorted by name; empty if there is no store yet.

    Raises:
        DamagedError: there is a link, or a folder whose name no surface or model can have.
    """
    return [(surface, model) for surface in folders(run, STORE) for model in folders(run, f"{STORE}/{surface}")]


def _facts(group: SurfaceGroup) -> tuple[SurfaceFacts, tuple[int, int], float]:
    """Return facts, home and step from a surface's metadata, after checking that each of its zarr.json files is valid."""
    name = f"{STORE}/{group.name}/{METADATA}"
    return read_attributes(group.check_metadata(), K=group.layout.K, name=name)
