"""Run folders: their files, what two runs of a spec must have in common, and forging them with a manifest that fits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tmrepro.store.manifest import file_hashes, write_manifest
from tmrepro.store.run_files import MANIFEST

# Two runs may differ in all of them.
MAY_DIFFER = {"provenance.json", "ro-crate-metadata.json", "report.html", "claims.json"}


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below `folder`, by its path from there."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def untimed(run: Path) -> dict[str, object]:
    """Return what two runs of a spec must have in common, by path, without asking tmrepro what that is.

    Of a file with times it is the rest of its content. Of any other file it is its hash in the manifest, or None if
    two runs may differ in it.
    """
    found: dict[str, object] = {}
    for line in (run / MANIFEST).read_text(encoding="utf-8").splitlines():
        digest, path = line.split("  ", 1)
        if path in MAY_DIFFER:
            found[path] = None
        elif path.endswith("history.csv"):
            found[path] = [row.rsplit(",", 1)[0] for row in (run / path).read_text(encoding="utf-8").split("\n")]
        elif path.endswith("minimum.json"):
            document = json.loads((run / path).read_text(encoding="utf-8"))
            found[path] = {name: value for name, value in document.items() if not name.endswith("_seconds")}
        else:
            found[path] = digest
    return found


def edit_json(path: Path, change: Callable[[Any], Any]) -> None:
    """Rewrite a JSON file as what `change` makes of its content, in place or by what it returns."""
    document = json.loads(path.read_text(encoding="utf-8"))
    changed = change(document)
    path.write_text(json.dumps(document if changed is None else changed, indent=2) + "\n", encoding="utf-8")


def seal(folder: Path, *, records: bool = False) -> None:
    """Write the manifest that fits what is in a folder now, as a forger would, or another machine.

    With `records`, the stage records in provenance.json fit too, if there is one.
    """
    if records and (folder / "provenance.json").exists():
        edit_json(folder / "provenance.json", lambda document: _rehash(folder, document["stages"]))
    with TemporaryDirectory(dir=folder.parent) as work:
        write_manifest(folder, work=Path(work))


def _rehash(folder: Path, stages: dict[str, Any]) -> None:
    for stage in stages.values():
        stage["files"] = file_hashes(folder, [path for path in stage["files"] if (folder / path).is_file()])


def forge_json(folder: Path, relative: str, change: Callable[[Any], Any]) -> None:
    """Rewrite a JSON file of a folder as `edit_json` does, and the manifest that would tell."""
    edit_json(folder / relative, change)
    seal(folder)
