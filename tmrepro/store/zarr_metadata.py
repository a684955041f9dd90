"""The zarr v3 metadata of surfaces.zarr: what zarr writes for our choices, and what we accept from others.

zarr itself writes the metadata, into memory, so that groups and arrays are described as zarr does it; `atomic` writes the
bytes to the disk. Reading checks an allow-list before zarr sees the metadata: some codecs unpickle what they decode, and
a large shape would allocate memory.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import zarr
from zarr.buffer.cpu import Buffer
from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec
from zarr.errors import ZarrUserWarning
from zarr.storage import MemoryStore

from tmrepro.errors import DamagedError
from tmrepro.records import Direction, Mark, SurfaceError, SurfaceFacts
from tmrepro.spec.limits import LARGEST_K, MOST_CHUNKS
from tmrepro.store.atomic import shown
from tmrepro.store.chunks import LEVEL

ARRAYS = ("loss", "accuracy", "a", "b")
METADATA = "zarr.json"
ERROR_POINTS_LIMIT = 64
IMAGES_LIMIT = 2**31
NOTE_LIMIT = 1000
MARKS_LIMIT = 16
NAME_LIMIT = 100

ChunkIndex = tuple[int, int]

_DIMENSIONS = {"loss": ("a", "b"), "accuracy": ("a", "b"), "a": ("a",), "b": ("b",)}


@dataclass(frozen=True)
class Layout:
    """The shapes of a surface: K points along each axis, chunks of `chunk` x `chunk` points, axes in one chunk each.

    `K_b`: the number of points along b, if it differs from that along a. The surfaces of a run are square.
    """

    K: int
    chunk: int
    K_b: int | None = None

    def shape(self, array: str) -> tuple[int, ...]:
        """Return the shape of one of `ARRAYS`."""
        lengths = {"a": self.K, "b": self.K if self.K_b is None else self.K_b}
        return tuple(lengths[axis] for axis in _DIMENSIONS[array])

    def chunk_shape(self, array: str) -> tuple[int, ...]:
        """Return the shape of that array's chunks. Chunks at the edge are padded to it."""
        return (self.chunk, self.chunk) if len(_DIMENSIONS[array]) == 2 else self.shape(array)

    def chunks(self) -> Iterator[tuple[ChunkIndex, slice, slice]]:
        """Yield every chunk in row-major order: its index, and its points along a and along b."""
        rows, columns = self.shape("loss")
        for i in range(0, rows, self.chunk):
            for j in range(0, columns, self.chunk):
                index = (i // self.chunk, j // self.chunk)
                yield index, slice(i, min(i + self.chunk, rows)), slice(j, min(j + self.chunk, columns))

    def block_shape(self, index: ChunkIndex) -> tuple[int, int]:
        """Return how many points along a and along b a chunk covers."""
        sides = zip(self.shape("loss"), index, strict=True)
        height, width = (min(self.chunk, points - part * self.chunk) for points, part in sides)
        if min(index) < 0 or height < 1 or width < 1:
            raise ValueError(f"no chunk {index} in a grid of {self.shape('loss')} points in chunks of {self.chunk}")
        return height, width


def chunk_count(rows: int, columns: int, chunk: int) -> int:
    """Return how many chunks of `chunk` x `chunk` points cover a grid of `rows` x `columns`; `chunk` is at least 1."""
    return -(-rows // chunk) * -(-columns // chunk)


def metadata_files(group: str, *, layout: Layout, attributes: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the zarr.json of `group` (SURFACE/MODEL), of its four arrays, and of the groups above it, by path in the store.

    The group's own is last: if they are written in this order, the group is complete when it exists.
    """
    store: dict[str, Any] = {}
    made = zarr.open_group(MemoryStore(store), mode="w", zarr_format=3).create_group(group, attributes=dict(attributes))
    for array in ARRAYS:
        made.create_array(
            array,
            shape=layout.shape(array),
            chunks=layout.chunk_shape(array),
            dtype="float64",
            fill_value=np.nan,
            dimension_names=_DIMENSIONS[array],
            chunk_key_encoding={"name": "default", "separator": "/"},
            serializer=BytesCodec(endian="little"),
            compressors=(ZstdCodec(level=LEVEL, checksum=True), Crc32cCodec()),
        )
    own = f"{group}/{METADATA}"
    return {key: store[key].to_bytes() for key in (*sorted(key for key in store if key != own), own)}


def consolidated(files: Mapping[str, bytes]) -> bytes:
    """Return the root's zarr.json with a copy of all `files`: the zarr.json of every node by path in the store."""
    store: dict[str, Any] = {key: Buffer.from_bytes(files[key]) for key in sorted(files)}
    with warnings.catch_warnings():
        # The warning says that consolidated metadata is not yet part of zarr v3. Without such metadata, xarray would warn.
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part", ZarrUserWarning)
        zarr.consolidate_metadata(MemoryStore(store), zarr_format=3)
    return bytes(store[METADATA].to_bytes())


def attributes_of(facts: SurfaceFacts, *, home: tuple[int, int], step: float) -> dict[str, Any]:
    """Return the attributes of a surface's group. An undefined cosine (a direction of norm 0) is null."""
    cosine = float(facts.cosine) if np.isfinite(facts.cosine) else None
    own = {name: value for name, value in asdict(facts).items() if name not in {"error", "marks"}}
    place = {"home": [int(index) for index in home], "step": float(step)}
    marks = {"marks": [[mark.name, mark.a, mark.b] for mark in facts.marks]} if facts.marks else {}
    return {**own, "cosine": cosine, **place, **marks, **error_attributes(facts.error)}


def error_attributes(error: SurfaceError | None) -> dict[str, Any]:
    """Return the measured error as attributes of a surface's group; empty before it is measured."""
    if error is None:
        return {}
    found = {
        "error_over_bound": error.over_bound,
        "error_points": [[int(i), int(j)] for i, j in error.points],
        "error_images": int(error.images),
    }
    return found if error.note is None else found | {"error_note": error.note}


ERROR_ATTRIBUTES = frozenset(error_attributes(SurfaceError(None, (), 0, "")))


def read_error(found: Mapping[str, Any], *, shape: tuple[int, int], name: str) -> SurfaceError | None:
    """Return what `error_attributes` stored for a surface of `shape`; None if nothing is stored.

    Raises:
        DamagedError: one of the attributes is missing or invalid.
    """
    match {key: value for key, value in found.items() if key in ERROR_ATTRIBUTES}:
        case empty if not empty:
            return None
        case {
            "error_over_bound": int() | float() | None as over_bound,
            "error_points": list() as points,
            "error_images": int() as images,
            **note_found,
        } if (
            (note := note_found.get("error_note")) is None or (isinstance(note, str) and 0 < len(note) <= NOTE_LIMIT)
        ) and (
            not isinstance(over_bound, bool)
            and not isinstance(images, bool)
            and (over_bound is None or (math.isfinite(over_bound) and over_bound >= 0))
            and (over_bound is not None or note is not None)
            and len(points) <= ERROR_POINTS_LIMIT
            and all(_is_point(point, shape=shape) for point in points)
            and 0 <= images <= IMAGES_LIMIT
        ):
            measured = tuple((i, j) for i, j in points)
            return SurfaceError(None if over_bound is None else float(over_bound), measured, images, note)
        case other:
            raise DamagedError(f"{shown(name)}: expected the measured error of a surface, found {_brief(other)}")


def _is_point(found: object, *, shape: tuple[int, int]) -> bool:
    match found:
        case [int() as i, int() as j]:
            return not isinstance(i, bool) and not isinstance(j, bool) and 0 <= i < shape[0] and 0 <= j < shape[1]
        case _:
            return False


def read_attributes(found: object, *, K: int, name: str) -> tuple[SurfaceFacts, tuple[int, int], float]:
    """Return what `attributes_of` stored: facts, home and step.

    Raises:
        DamagedError: an attribute is missing, unknown or invalid.
    """
    match found:
        case {
            "delta": delta_found,
            "eta": eta_found,
            "cosine": int() | float() | None as cosine,
            "theta_norm": int() | float() as theta_norm,
            "images": int() as images,
            "labels": "relabelled" | "original" as labels,
            "home": [int() as home_i, int() as home_j],
            "step": int() | float() as step,
            **rest,
        } if (
            not set(rest) - ERROR_ATTRIBUTES - {"marks"}
            and not any(isinstance(value, bool) for value in (cosine, theta_norm, images, home_i, home_j, step))
            and 0 <= home_i < K
            and 0 <= home_j < K
            and step > 0
        ):
            facts = SurfaceFacts(
                delta=_direction(delta_found, name=name),
                eta=_direction(eta_found, name=name),
                cosine=float("nan") if cosine is None else float(cosine),
                theta_norm=float(theta_norm),
                images=images,
                labels=labels,
                error=read_error({str(key): value for key, value in rest.items()}, shape=(K, K), name=name),
                marks=_marks(rest.get("marks", []), name=name),
            )
            return facts, (home_i, home_j), float(step)
        case _:
            raise DamagedError(f"{shown(name)}: expected the attributes of a surface, found {_brief(found)}")


def read_group(document: object, *, name: str, root: bool = False) -> object:
    """Return the attributes of a zarr.json of a zarr v3 group. Only the root may contain copies of others.

    Raises:
        DamagedError: the document is anything else.
    """
    expected = {"zarr_format": 3, "node_type": "group"}
    also = {"attributes", "consolidated_metadata"} if root else {"attributes"}
    return _checked(document, expected, also=also, name=name).get("attributes", {})


def read_layout(document: object, *, name: str, square: bool = True) -> Layout:
    """Return the layout of a surface, from the zarr.json of its `loss`. Points and chunks are within the limits.

    Raises:
        DamagedError: it does not describe such an array, is not square if `square`, or is larger than a surface can be.
    """
    match document:
        case {
            "shape": [int() as rows, int() as columns],
            "chunk_grid": {"configuration": {"chunk_shape": [int() as chunk, int() as chunk_b]}},
        } if (
            chunk == chunk_b
            and min(rows, columns, chunk) >= 1
            and chunk <= max(rows, columns) <= LARGEST_K
            and chunk_count(rows, columns, chunk) <= MOST_CHUNKS
            and (rows == columns or not square)
        ):
            return Layout(K=int(rows), K_b=None if square else int(columns), chunk=int(chunk))
        case {"zarr_format": int() as version} if version != 3:
            raise DamagedError(f"{shown(name)}: expected zarr format 3, found {version}")
        case _:
            shape = f"[K, K] with K of at most {LARGEST_K}" if square else f"[I, J] of at most {LARGEST_K} points each"
            raise DamagedError(
                f"{shown(name)}: expected shape {shape} in at most {MOST_CHUNKS} square chunks, found {_brief(document)}"
            )


def check_array(document: object, *, array: str, layout: Layout, name: str) -> None:
    """Raise DamagedError unless `document` is the zarr.json of `array` as tmrepro writes it. Any zstd level is accepted.

    Raises:
        DamagedError: type, shape, fill value or codecs differ, or there is an unknown field.
    """
    expected: dict[str, Any] = {
        "zarr_format": 3,
        "node_type": "array",
        "data_type": "float64",
        "shape": list(layout.shape(array)),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(layout.chunk_shape(array))}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN",
        "dimension_names": list(_DIMENSIONS[array]),
    }
    found = _checked(document, expected, also={"codecs", "attributes", "storage_transformers"}, name=name)
    match found:
        case {
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "zstd", "configuration": {"level": int(), "checksum": True}},
                {"name": "crc32c"},
            ],
        } if not found.get("attributes") and not found.get("storage_transformers"):
            return
        case _:
            raise DamagedError(
                f"{shown(name)}: expected the codecs bytes (little), zstd (checksum) and crc32c and nothing else, "
                f"found {_brief(document)}"
            )


def _marks(found: object, *, name: str) -> tuple[Mark, ...]:
    marks = []
    for item in found if isinstance(found, list) and len(found) <= MARKS_LIMIT else [None]:
        match item:
            case [str() as called, int() | float() as a, int() | float() as b] if (
                0 < len(called) <= NAME_LIMIT and not isinstance(a, bool) and not isinstance(b, bool)
            ):
                marks.append(Mark(called, float(a), float(b)))
            case _:
                raise DamagedError(f"{shown(name)}: expected the marks of a surface, found {_brief(found)}")
    return tuple(marks)


def _direction(found: object, *, name: str) -> Direction:
    match found:
        case {"seed": int() | None as seed, "sha256": str() as sha256, "norm": int() | float() as norm, **rest} if (
            not rest and not isinstance(seed, bool) and not isinstance(norm, bool)
        ):
            return Direction(seed=seed, sha256=sha256, norm=float(norm))
        case _:
            raise DamagedError(
                f"{shown(name)}: expected the attributes of a surface, found a direction {_brief(found)}"
            )


def _checked(document: object, expected: Mapping[str, Any], *, also: set[str], name: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise DamagedError(f"{shown(name)}: expected zarr metadata, found {_brief(document)}")
    for key, value in expected.items():
        if document.get(key) != value:
            raise DamagedError(f"{shown(name)}: {key}: expected {value}, found {_brief(document.get(key))}")
    if unknown := sorted(set(document) - set(expected) - also):
        raise DamagedError(f"{shown(name)}: expected the zarr metadata of tmrepro, also found {_brief(unknown)}")
    return document


def _brief(value: object) -> str:
    text = repr(value)
    return shown(text if len(text) <= 200 else text[:200] + "...")
