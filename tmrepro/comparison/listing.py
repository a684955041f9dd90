"""The runs, finished or not, and references below a folder. They are read but not verified: no file is hashed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tmrepro.errors import ArtefactError, DamagedError
from tmrepro.spec import Spec, expand_models, expand_surfaces, spec_hash
from tmrepro.store.atomic import WORK, safe_path, shown
from tmrepro.store.documents import read_json
from tmrepro.store.minima import read_minimum
from tmrepro.store.run_files import BANDS, MANIFEST, PROVENANCE, SPEC, STORE
from tmrepro.store.specs import read_spec

DEEPEST = 4  # levels below the folder
MOST_FOLDERS = 10_000  # folders to read at most

State = Literal["finished", "unfinished", "damaged"]


@dataclass(frozen=True)
class Entry:
    """One run or reference. `folder` is relative to the listed folder.

    `networks` are the categories of the networks, replicates included; None for a network that is not trained yet.
    `trouble` says what is damaged.
    """

    folder: str
    kind: Literal["run", "reference"]
    state: State
    name: str = ""
    spec_hash: str = ""
    data: str = ""
    started: str = ""
    networks: dict[str, str | None] | None = None
    surfaces: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class Listing:
    """The runs and references in and below `folder`, by path. `complete`: the whole folder was read."""

    folder: str
    entries: tuple[Entry, ...]
    complete: bool = True

    def document(self) -> dict[str, Any]:
        """Return the listing as plain JSON values."""
        return {
            "folder": self.folder,
            "runs": [asdict(entry) | {"surfaces": list(entry.surfaces)} for entry in self.entries],
            "complete": self.complete,
        }


def list_folder(folder: Path) -> Listing:
    """Return the runs and references in and below `folder`. Links are not followed.

    Raises:
        ArtefactError: the folder is missing, or is a file.
    """
    if not folder.is_dir():
        raise ArtefactError(f"{folder}: expected a folder of runs, found {'a file' if folder.exists() else 'nothing'}")
    walk = _Walk()
    entries = [_entry(path, shown(path.relative_to(folder).as_posix())) for path in walk.runs(folder)]
    return Listing(str(folder), tuple(entries), complete=walk.complete)


class _Walk:
    """Goes through folders, at most `MOST_FOLDERS` of them, and records whether that was all."""

    def __init__(self) -> None:
        self.complete = True
        self._left = MOST_FOLDERS

    def runs(self, folder: Path, *, depth: int = 0) -> Iterator[Path]:
        """Yield the folders that hold a spec.yaml of a run or reference, in order of their paths, but not folders inside them."""
        if not self._left or depth > DEEPEST:
            self.complete = False
            return
        self._left -= 1
        try:
            with os.scandir(folder) as found:
                inner = sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False))
        except OSError:
            self.complete = False
            return
        if os.path.lexists(folder / SPEC) and ({"models", STORE, WORK} & set(inner)):
            yield folder
            return
        for name in inner:
            if not name.startswith("."):
                yield from self.runs(folder / name, depth=depth + 1)


def _entry(folder: Path, name: str) -> Entry:
    kind: Literal["run", "reference"] = "reference" if os.path.lexists(folder / BANDS) else "run"
    unfinished = os.path.lexists(folder / WORK) or not os.path.lexists(folder / MANIFEST)
    try:
        spec = read_spec(folder)
        return Entry(
            folder=name,
            kind=kind,
            state="unfinished" if unfinished else "finished",
            name=spec.name,
            spec_hash=spec_hash(spec),
            data=spec.data.name,
            started=_started(folder),
            networks=_categories(folder, spec, partly=unfinished),
            surfaces=tuple(drawn.name for drawn in expand_surfaces(spec)),
        )
    except ArtefactError as error:
        return Entry(folder=name, kind=kind, state="damaged", trouble=shown(str(error)))


def _started(folder: Path) -> str:
    """Return when the run began, from provenance.json, which is written last."""
    if not os.path.lexists(folder / PROVENANCE):
        return ""
    document = read_json(safe_path(folder, PROVENANCE), name=PROVENANCE)
    started = document.get("started") if isinstance(document, dict) else None
    return shown(started) if isinstance(started, str) else ""


def _categories(folder: Path, spec: Spec, *, partly: bool) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for model in expand_models(spec):
        try:
            found[model.name] = read_minimum(folder, model.name).category
        except DamagedError:
            if not partly:
                raise
            found[model.name] = None
    return found
