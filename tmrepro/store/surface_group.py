"""One surface in surfaces.zarr: a group SURFACE/MODEL with loss, accuracy and axes, of any shape.

A chunk is the unit of work, of resuming and of checksums. It is done if both of its files exist and are valid; no other
record is used. A damaged chunk is not done, and is recomputed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from tmrepro.errors import DamagedError
from tmrepro.store import chunks
from tmrepro.store.run_files import STORE
from tmrepro.store.zarr_files import chunk_key, read, read_metadata, write
from tmrepro.store.zarr_metadata import (
    ARRAYS,
    METADATA,
    ChunkIndex,
    Layout,
    check_array,
    metadata_files,
    read_group,
    read_layout,
)

Block = tuple[Float64[np.ndarray, "I J"], Float64[np.ndarray, "I J"]]  # loss and accuracy
VALUES = ("loss", "accuracy")


@dataclass(frozen=True)
class SurfaceGroup:
    """The group `name` (SURFACE/MODEL) in the store of the folder `run`, with the shapes of `layout`."""

    run: Path
    name: str
    layout: Layout

    @classmethod
    def stored(cls, run: Path, name: str, *, square: bool = True) -> SurfaceGroup:
        """Return the group in the store. `square`: refuse other shapes.

        Raises:
            DamagedError: the metadata of `loss` is missing or invalid.
        """
        key = f"{name}/loss/{METADATA}"
        return cls(run, name, read_layout(read_metadata(run, key), name=f"{STORE}/{key}", square=square))

    def metadata(self, attributes: Mapping[str, Any]) -> dict[str, bytes]:
        """Return the zarr.json of the group, its arrays and the groups above it, by key. That of the group itself is last."""
        return metadata_files(self.name, layout=self.layout, attributes=attributes)

    def axis_files(self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]) -> dict[str, bytes]:
        """Return the files of both axes, by key."""
        return {
            f"{self.name}/{axis}/c/0": chunks.encode(points, shape=self.layout.chunk_shape(axis))
            for axis, points in (("a", a), ("b", b))
        }

    def files(self) -> list[str]:
        """Return the keys of all files of a complete group, including the metadata of the groups above it."""
        above = self.name.split("/", maxsplit=1)[0]
        keys = [METADATA, f"{above}/{METADATA}", f"{self.name}/{METADATA}"]
        keys += [f"{self.name}/{array}/{METADATA}" for array in ARRAYS]
        keys += [f"{self.name}/{axis}/c/0" for axis in ("a", "b")]
        return keys + [chunk_key(self.name, array, index) for index, _, _ in self.layout.chunks() for array in VALUES]

    def write(self, index: ChunkIndex, loss: Float64[np.ndarray, "h w"], accuracy: Float64[np.ndarray, "h w"]) -> None:
        """Store one chunk durably. Both arrays have the shape of the points that `index` covers.

        Raises:
            StorageError: the folder cannot be written.
        """
        wanted = self.layout.block_shape(index)
        for array, block in zip(VALUES, (loss, accuracy), strict=True):
            if block.shape != wanted:
                raise ValueError(f"chunk {index} of {self.name}: expected {array} of shape {wanted}, got {block.shape}")
            data = chunks.encode(block, shape=self.layout.chunk_shape(array))
            write(self.run, chunk_key(self.name, array, index), data)

    def read(self, index: ChunkIndex) -> Block:
        """Return loss and accuracy of one chunk, without padding at the edge.

        Raises:
            DamagedError: one of its files is missing, a link, or damaged.
        """
        loss, accuracy = (self._read(array, index) for array in VALUES)
        return loss, accuracy

    def is_whole(self, index: ChunkIndex) -> bool:
        """Return whether both files of a chunk exist and pass their checksums."""
        try:
            self.read(index)
        except DamagedError:
            return False
        return True

    def values(self) -> Block:
        """Return loss and accuracy of all points.

        Raises:
            DamagedError: a chunk is missing or damaged.
        """
        return self._assemble(missing_allowed=False)

    def part(self) -> Block:
        """Return the points computed so far, with nan in missing or damaged chunks."""
        return self._assemble(missing_allowed=True)

    def axes(self) -> tuple[Float64[np.ndarray, " I"], Float64[np.ndarray, " J"]]:
        """Return the coordinates a and b.

        Raises:
            DamagedError: a file is missing or damaged.
        """
        a, b = (
            _read_file(self.run, f"{self.name}/{axis}/c/0", shape=self.layout.chunk_shape(axis)) for axis in ("a", "b")
        )
        return a, b

    def check_metadata(self) -> object:
        """Return the attributes of the group, after checking that each of its zarr.json files is valid.

        Raises:
            DamagedError: one is invalid.
        """
        above = f"{self.name.split('/', maxsplit=1)[0]}/{METADATA}"
        read_group(read_metadata(self.run, above), name=f"{STORE}/{above}")
        own = f"{self.name}/{METADATA}"
        attributes = read_group(read_metadata(self.run, own), name=f"{STORE}/{own}")
        for array in ARRAYS:
            key = f"{self.name}/{array}/{METADATA}"
            check_array(read_metadata(self.run, key), array=array, layout=self.layout, name=f"{STORE}/{key}")
        return attributes

    def check_consolidated(self) -> None:
        """Compare the root's copy of the metadata, which xarray reads, with the files, which tmrepro reads.

        Raises:
            DamagedError: they differ.
        """
        match read_metadata(self.run, METADATA).get("consolidated_metadata"):
            case None:
                return
            case {"metadata": dict() as copies}:
                for node in (self.name, *(f"{self.name}/{array}" for array in ARRAYS)):
                    copy = copies.get(node)
                    # The copy of a group also states that it contains no copies itself.
                    own = {"consolidated_metadata": copy.get("consolidated_metadata")} if isinstance(copy, dict) else {}
                    if copy not in (found := read_metadata(self.run, f"{node}/{METADATA}"), {**found, **own}):
                        raise DamagedError(f"{STORE}/{METADATA}: its copy of {node}/{METADATA} differs from that file")
            case _:
                raise DamagedError(f"{STORE}/{METADATA}: expected consolidated metadata, found something else")

    def _assemble(self, *, missing_allowed: bool) -> Block:
        loss, accuracy = (np.full(self.layout.shape(array), np.nan) for array in VALUES)
        for index, rows, columns in self.layout.chunks():
            for array, whole in zip(VALUES, (loss, accuracy), strict=True):
                with contextlib.suppress(*([DamagedError] if missing_allowed else [])):
                    whole[rows, columns] = self._read(array, index)
        return loss, accuracy

    def _read(self, array: str, index: ChunkIndex) -> Float64[np.ndarray, "h w"]:
        height, width = self.layout.block_shape(index)
        key = chunk_key(self.name, array, index)
        return _read_file(self.run, key, shape=self.layout.chunk_shape(array))[:height, :width]


def _read_file(run: Path, key: str, *, shape: tuple[int, ...]) -> Float64[np.ndarray, "*_"]:
    """Return the content of the chunk file under `key`, whose array has chunks of `shape`."""
    try:
        data = read(run, key, limit_bytes=chunks.limit_bytes(shape))
    except DamagedError as error:
        raise DamagedError(f"{error}; {chunks.REMEDY}") from error
    return chunks.decode(data, shape=shape, name=f"{STORE}/{key}")
