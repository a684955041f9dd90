"""spec.yaml of a run folder or a reference: read as somebody else's file, unlike the spec that a user names.

The spec on a command line may be a link or a pipe, and what is wrong in it is for its author. That of a run folder was
written by us: a link, a pipe that would block for ever, or a spec that is none, is damage.
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
    """The hash of spec.yaml as it is written; that of a run made before a field was added has it not.

    Raises:
        DamagedError: as `read_spec`.
    """
    name = str(run / SPEC)
    content = read_bytes(safe_path(run, SPEC), limit_bytes=MAX_BYTES, name=name)
    try:
        return hash_of(read_document(content.decode("utf-8-sig"), source=name).root.plain())
    except (SpecError, ValueError) as error:
        raise DamagedError(str(error)) from error


def read_spec(run: Path) -> Spec:
    """The resolved spec of the folder `run`.

    Raises:
        DamagedError: it is missing, not a plain file, or no spec.
    """
    name = str(run / SPEC)
    content = read_bytes(safe_path(run, SPEC), limit_bytes=MAX_BYTES, name=name)
    try:
        return decode_spec(content, source=name)
    except SpecError as error:
        raise DamagedError(str(error)) from error
