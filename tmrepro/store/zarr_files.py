"""surfaces.zarr as files: a key of the store is a path below it, and its value is the content of that file.

Everything goes through `atomic`: reads follow no link and are limited in size, writes are durable. `surface_group` and
`zarr_metadata` define the meaning of the keys.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from tmrepro.errors import DamagedError, UsageError
from tmrepro.store.atomic import read_bytes, refuse_too_many, safe_path, shown, work_folder, write_bytes
from tmrepro.store.documents import parse_json
from tmrepro.store.litter import find_litter
from tmrepro.store.run_files import STORE
from tmrepro.store.zarr_metadata import METADATA, ChunkIndex, read_group

METADATA_LIMIT_BYTES = 2**20
CONSOLIDATED_LIMIT_BYTES = 64 * 2**20

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}(\.[dr][1-9][0-9]{0,5})?")


def group_key(surface: str, model: str) -> str:
    """Return the key of a surface's group. Raise UsageError if a name is invalid."""
    for name in (surface, model):
        if not _NAME.fullmatch(name):
            raise UsageError(f"{shown(name)!r} is not a valid name of a surface or model")
    return f"{surface}/{model}"


def chunk_key(group: str, array: str, index: ChunkIndex) -> str:
    """Return the key of a chunk of loss or accuracy."""
    return f"{group}/{array}/c/{index[0]}/{index[1]}"


def root_is_group(run: Path) -> bool:
    """Return whether the root's metadata exists and is valid."""
    try:
        read_group(read_metadata(run, METADATA), name=METADATA, root=True)
    except DamagedError:
        return False
    return True


def read_metadata(run: Path, key: str) -> dict[str, Any]:
    """Return the document of a zarr.json. Raise DamagedError if it is missing, too large or not strict JSON."""
    limit = CONSOLIDATED_LIMIT_BYTES if key == METADATA else METADATA_LIMIT_BYTES
    document = parse_json(read(run, key, limit_bytes=limit), name=f"{STORE}/{key}")
    if not isinstance(document, dict):
        raise DamagedError(f"{STORE}/{key}: expected zarr metadata, found a {type(document).__name__}")
    return document


def read(run: Path, key: str, *, limit_bytes: int) -> bytes:
    """Return the bytes under a key. Raise DamagedError if they are missing, a link or too large."""
    relative = f"{STORE}/{key}"
    return read_bytes(safe_path(run, relative), limit_bytes=limit_bytes, name=relative)


def holds(run: Path, key: str, data: bytes) -> bool:
    """Return whether exactly `data` is stored under a key."""
    try:
        return read(run, key, limit_bytes=max(len(data), 1)) == data
    except DamagedError:
        return False


def write(run: Path, key: str, data: bytes) -> None:
    """Store `data` under a key, durably."""
    write_bytes(safe_path(run, f"{STORE}/{key}"), data, work=work_folder(run))


def folders(run: Path, relative: str) -> list[str]:
    """Return the names of the folders in a folder of surfaces or models. Raise DamagedError if it has other content."""
    try:
        with os.scandir(safe_path(run, relative)) as entries:
            found = sorted(entry.name for entry in entries if entry.name != METADATA and not find_litter(entry.name))
    except FileNotFoundError:
        return []
    except OSError as error:
        refuse_too_many(error, name=relative)
        raise DamagedError(f"{relative}: expected a folder ({error.strerror or error})") from error
    for name in found:
        if not _NAME.fullmatch(name) or not safe_path(run, f"{relative}/{name}").is_dir():
            raise DamagedError(f"{relative}/{shown(name)}: expected zarr.json and folders of surfaces and models only")
    return found
