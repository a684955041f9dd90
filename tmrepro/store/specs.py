"""Reads spec.yaml of a run folder or a reference. Unlike the spec on a command line, it is not the user's own file.

A spec on a command line may be a link or a pipe, and errors in it are for its author. In a run folder, which tmrepro wrote,
a link, a pipe (reading would block) or an invalid spec is damage.
"""

from __future__ import annotations

from pathlib import Path

from tmrepro.errors import DamagedError, SpecError
from tmrepro.spec import Spec
from tmrepro.spec.canonical import hash_of
from tmrepro.spec.document import MAX_BYTES, read_document
from tmrepro.spec.reader import decode_spec
from tmrepro.store.atomic import read_bytes, safe_path
from tmrepro.store.run_files import SPEC


def written_hash(run: Path) -> str:
    """Return the hash of spec.yaml as written: without fields that were added to the format after the run.

    Raises:
        DamagedError: see `read_spec`.
    """
    name = str(run / SPEC)
    content = read_bytes(safe_path(run, SPEC), limit_bytes=MAX_BYTES, name=name)
    try:
        return hash_of(read_document(content.decode("utf-8-sig"), source=name).root.plain())
    except (SpecError, ValueError) as error:
        raise DamagedError(str(error)) from error


def read_spec(run: Path) -> Spec:
    """Return the resolved spec of the folder `run`.

    Raises:
        DamagedError: the spec is missing, not a plain file, or invalid.
    """
    name = str(run / SPEC)
    content = read_bytes(safe_path(run, SPEC), limit_bytes=MAX_BYTES, name=name)
    try:
        return decode_spec(content, source=name)
    except SpecError as error:
        raise DamagedError(str(error)) from error
