"""References: the results of a run without weights, small enough to be published, with bands for other seeds.

spec.yaml  statistics.json  surfaces.zarr/  provenance.json       as in the run they come from
models/NAME/minimum.json, history.csv, curvature.json              no weights: provenance.json has their hashes
figures/*.png
bands.json                                                         see bands.py
manifest-sha256.txt                                                of the reference folder itself, checked first
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tmrepro.errors import DamagedError, UsageError
from tmrepro.spec import Spec, expand_surfaces
from tmrepro.store.atomic import make_folder, read_bytes, remove, safe_path, work_folder, write_bytes
from tmrepro.store.documents import read_json, write_json
from tmrepro.store.manifest import IntegrityFinding, check_manifest, told, write_manifest
from tmrepro.store.run_files import BANDS, PROVENANCE, SPEC, run_file
from tmrepro.store.specs import read_spec
from tmrepro.store.statistics import StoredStatistics, read_statistics
from tmrepro.verification.bands import Bands, Replicate, measure_bands, read_bands, sizes_of

KEPT_FILE_LIMIT_BYTES = 2**30


def check_target(to: Path) -> None:
    """Raise UsageError unless a reference can be written to `to`. Call this before the run, which takes hours.

    Raises:
        UsageError: `to` is a file, or a folder with other content than a reference.
    """
    if to.exists() and not to.is_dir():
        raise UsageError(f"{to} is a file; choose a folder with --to")
    if to.is_dir() and any(to.iterdir()) and not (to / BANDS).is_file():
        raise UsageError(f"{to} is not empty and is not a reference; choose another --to")


def write_reference(run: Path, *, to: Path, replicates: Sequence[Replicate]) -> Bands:
    """Write the reference folder `to` from a finished run and its replicates (which include the run). Return its bands.

    The folder is replaced completely, or not at all.

    Raises:
        DamagedError: the run differs from its manifest.
        UsageError: `to` has other content than a reference.
    """
    _require_whole(run)
    spec = read_spec(run)
    provenance = read_json(run / PROVENANCE, name=PROVENANCE)
    bands = measure_bands(
        replicates,
        points={drawn.name: drawn.spec.grid.K for drawn in expand_surfaces(spec)},
        images=(provenance["data"]["train"], provenance["data"]["validation"]),
        sizes=sizes_of(spec),
    )
    replace_reference(run, to=to, bands=bands)
    return bands


def replace_reference(run: Path, *, to: Path, bands: Bands) -> None:
    """Like `write_reference`, with bands that were measured before."""
    check_target(to)
    _require_whole(run)
    fresh = to.parent / f".{to.name}.new"
    remove(fresh)
    work = work_folder(fresh)
    make_folder(work)
    for relative in _kept(run):
        data = read_bytes(safe_path(run, relative), limit_bytes=KEPT_FILE_LIMIT_BYTES, name=relative)
        write_bytes(fresh / relative, data, work=work)
    write_json(fresh / BANDS, bands.document(), work=work)
    write_manifest(fresh, work=work)
    shutil.rmtree(work.parent)
    remove(to)
    fresh.replace(to)


def reference_findings(folder: Path) -> list[IntegrityFinding]:
    """Return all differences of a reference from its manifest.

    Raises:
        DamagedError: the folder is not a reference.
    """
    if not any(os.path.lexists(folder / name) for name in (SPEC, BANDS)):
        raise DamagedError(
            f"{folder}: not a reference; build one with 'tmrepro reference build SPEC --to {folder}', "
            "or name another with --reference DIR"
        )
    return check_manifest(folder)


class Reference:
    """Open a reference folder, and check its manifest.

    Raises:
        DamagedError: the folder is not a reference, or differs from its manifest.
    """

    def __init__(self, folder: Path) -> None:
        findings = reference_findings(folder)
        if findings:
            raise DamagedError(f"reference {folder}: {told(folder, findings)}")
        self.folder = folder
        try:
            self.spec: Spec = read_spec(folder)
        except DamagedError as error:
            raise DamagedError(f"reference {folder}: {error}") from error
        self.statistics: StoredStatistics = read_statistics(folder, name=f"reference {folder}: statistics.json")
        self.provenance: dict[str, Any] = self._document(PROVENANCE)
        self.bands: Bands = read_bands(self._document(BANDS), name=f"reference {folder}: {BANDS}")

    def _document(self, relative: str) -> dict[str, Any]:
        name = f"reference {self.folder}: {relative}"
        document = read_json(safe_path(self.folder, relative), name=name)
        if not isinstance(document, dict):
            raise DamagedError(f"{name}: expected an object, found a {type(document).__name__}")
        return document


def _require_whole(run: Path) -> None:
    findings = check_manifest(run)
    if findings:
        raise DamagedError(f"{run}: {told(run, findings)}")


def _kept(run: Path) -> Iterator[str]:
    for path in sorted(run.rglob("*")):
        relative = path.relative_to(run).as_posix()
        kind = run_file(relative)
        if kind is not None and kind.in_reference and path.is_file():
            yield relative
