"""A BagIt bag (RFC 8493): the whole run as its payload, with the checksums of the run's own manifest.

Every file is hashed while it is copied, and must have the SHA-256 in the run's manifest.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tmrepro.errors import DamagedError
from tmrepro.reporting.masthead import masthead
from tmrepro.spec import spec_hash
from tmrepro.store.atomic import open_plain, safe_path, shown
from tmrepro.store.finished import Finished
from tmrepro.store.manifest import file_hashes, listed_hashes
from tmrepro.store.run_files import MANIFEST

BLOCK_BYTES = 2**20


def write_bag(run: Finished, folder: Path) -> None:
    """Write the bag into the new folder `folder`.

    Raises:
        DamagedError: a file changed since the run was checked, or has a name that a bag's manifest cannot hold.
    """
    folder.mkdir()
    promised = listed_hashes(run.folder) | file_hashes(run.folder, [MANIFEST])
    octets, lines = 0, []
    for path in promised:
        if "%" in path:  # RFC 8493 escapes it, but not every reader unescapes it
            raise DamagedError(
                f"{shown(path)}: the manifest of a bag cannot contain this file name; a run never writes such a file"
            )
        digest, size = _copy(run.folder, path, folder / "data" / path)
        if digest != promised[path]:
            raise DamagedError(f"{run.name}/{path}: the file changed during the copy; export the run again")
        octets += size
        lines.append(f"{digest}  data/{path}\n")
    tags = {
        "bagit.txt": "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "bag-info.txt": "".join(f"{name}: {words}\n" for name, words in _info(run, octets, len(promised)).items()),
        "manifest-sha256.txt": "".join(lines),
    }
    for name, text in tags.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    hashes = file_hashes(folder, sorted(tags))
    text = "".join(f"{digest}  {name}\n" for name, digest in hashes.items())
    (folder / "tagmanifest-sha256.txt").write_text(text, encoding="utf-8", newline="\n")


def _copy(root: Path, relative: str, target: Path) -> tuple[str, int]:
    """Copy a plain file. Return the SHA-256 and the number of the bytes that were copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with open_plain(safe_path(root, relative), name=relative) as source, target.open("wb") as copy:
        while block := source.read(BLOCK_BYTES):
            digest.update(block)
            copy.write(block)
            size += len(block)
    return digest.hexdigest(), size


def _info(run: Finished, octets: int, files: int) -> dict[str, str]:
    about = masthead(run.provenance)
    return {
        "Bag-Software-Agent": f"tmrepro {version('tmrepro')}",
        "Bagging-Date": f"{datetime.now(UTC):%Y-%m-%d}",
        "External-Description": f"A {run.kind} of tmrepro, spec {run.spec.name}: loss surfaces around trained networks",
        "External-Identifier": f"spec-sha256:{spec_hash(run.spec)}",
        "Payload-Oxum": f"{octets}.{files}",
        **{f"Run-{term}": " ".join(words.split()) for term, words in about.items() if term != "Paper"},
        "Reproduces": about["Paper"],
    }
