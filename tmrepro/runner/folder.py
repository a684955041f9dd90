"""The run folder as a whole: is it ours, is it finished, what in it is damaged, and what has no business in it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from tmrepro.errors import DamagedError, StorageError, UsageError
from tmrepro.reporting.progress import Reporter
from tmrepro.runner.context import Context
from tmrepro.spec import Spec, dump_spec, first_difference
from tmrepro.store.atomic import WORK, remove, safe_path, shown, work_folder, write_bytes
from tmrepro.store.litter import find_litter
from tmrepro.store.lock import remove_work
from tmrepro.store.manifest import (
    IntegrityFinding,
    check_manifest,
    listed_hash,
    old_content,
    refuse_litter,
)
from tmrepro.store.run_files import CLOSING, MANIFEST, MINIMUM, PROVENANCE, SPEC, STORE, model_file
from tmrepro.store.specs import read_spec
from tmrepro.store.stages import StageBook, StageRecord, finished_stages


def open_folder(out: Path, spec: Spec) -> None:
    """Make sure that `out` is a folder which can hold a run of `spec`, without changing what is in it.

    Raises:
        UsageError: it is a file, holds something else, or holds the run of another spec.
        DamagedError: its spec.yaml is not one, or not the one with which the run was finished.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; choose a folder with --out")
    names = {item.name for item in out.iterdir()} - {WORK} if out.exists() else set()
    if not names:
        return
    if all(find_litter(name) for name in names):
        refuse_litter(out)
    if _lists_spec(out, dump_spec(spec).encode()):
        return  # whatever became of its spec.yaml, this is a run of `spec`
    if not os.path.lexists(out / SPEC):
        raise UsageError(f"{out} is not empty and holds no run; choose another --out, or empty it")
    remedy = "choose another --out, or put the file back as it was"
    try:
        found = read_spec(out)
    except DamagedError as error:
        raise DamagedError(f"{error}; {remedy}") from error
    difference = first_difference(spec, found)
    if difference is None:
        return
    if os.path.lexists(out / MANIFEST) and not _lists_spec(out, (out / SPEC).read_bytes()):
        raise DamagedError(f"{out / SPEC} was changed after the run was finished; {remedy}")
    raise UsageError(
        f"{out} holds the run of another spec: {difference}. Choose another --out; with --reuse {out} it reuses "
        "what is still valid"
    )


@contextmanager
def leaving_no_trace(out: Path) -> Iterator[None]:
    """Leave no `.work` where nothing was begun: in a new folder (it would refuse the corrected spec), or a finished one."""
    try:
        yield
    except BaseException:
        with suppress(OSError, StorageError):  # what is wrong has been said already
            nothing_begun = {item.name for item in out.iterdir()} == {WORK}
            if nothing_begun or (out / MANIFEST).exists():
                remove_work(out)
            if nothing_begun:
                out.rmdir()
        raise


def is_complete(out: Path) -> bool:
    """Whether the folder holds a finished run whose bytes are what its manifest says."""
    return (out / MANIFEST).exists() and not check_manifest(out, working=True)


def reopen(out: Path, reporter: Reporter, *, also: AbstractSet[str] = frozenset()) -> None:
    """Bring back the stage records of a finished run that was damaged since, so that what is whole is kept.

    `also` are files that may be there beside those of its stages.

    Raises:
        DamagedError: there are files in it that no run writes, or links.
    """
    refuse_litter(out)
    if not (out / MANIFEST).exists():
        return
    findings = _put_back(out, reporter)
    strange = next((finding for finding in findings if finding.problem in {"link", "unreadable"}), None)
    if strange is not None:
        raise DamagedError(f"{out / strange.path}: {strange.message}; remove it, then run again")
    records, notes = [], [f"{out} was finished, but {findings[0]}"] if findings else []
    if any(finding.path == PROVENANCE for finding in findings):
        notes.append(f"{out / PROVENANCE} cannot be trusted: the whole run is recomputed")
    else:
        records = finished_stages(out)
        check_foreign(out, records, also=also)
    for note in notes:
        reporter.note(note)
    remove(out / WORK / "stages")  # of an earlier try to do what is done here
    book = StageBook(out)
    for record in records:
        book.put(record)
    remove(out / MANIFEST)


def _put_back(out: Path, reporter: Reporter) -> list[IntegrityFinding]:
    """Undo what a transport did to text files, since the manifest says what they were; returns what is wrong after that."""
    findings = check_manifest(out, working=True)
    converted = [found.path for found in findings if found.problem == "converted" and found.path != MANIFEST]
    for path in converted:
        content = old_content(out, path)
        if content is not None:
            write_bytes(safe_path(out, path), content, work=work_folder(out))
            reporter.note(f"{out / path}: its line ends are put back")
    return check_manifest(out, working=True) if converted else findings


def check_foreign(out: Path, records: Sequence[StageRecord], *, also: AbstractSet[str] = frozenset()) -> None:
    """Raise unless every file in `out` is written by the stages `records` or by the closing of a run, or is one of `also`.

    Raises:
        DamagedError: one is not; a manifest would vouch for it.
    """
    surfaces = [record.name.split("/")[1] for record in records if record.name.startswith("surface/")]
    known = CLOSING | {f"{STORE}/{surface}/zarr.json" for surface in surfaces} | also
    known |= {relative for record in records for relative in record.files}
    refuse_litter(out)
    for path in sorted(_files(out)):
        if path not in known:
            raise DamagedError(f"{out / shown(path)}: not a file of this run; remove it, then run again")


def forget_stale(
    context: Context,
    models: Sequence[str],
    surfaces: Sequence[tuple[str, str]],
    *,
    paths: Sequence[str],
    directions: Sequence[tuple[str, str]],
) -> None:
    """Remove what earlier attempts made and this run does not want: of a network that now fails, on another device."""
    wanted = {f"{stage}/{name}" for stage in ("training", "minimum", "planes") for name in models}
    wanted |= {f"surface/{surface}/{model}" for surface, model in surfaces} | {"figures"}
    wanted |= {f"trajectory/{name}" for name in paths}
    wanted |= {f"directions/{surface}/{model}" for surface, model in directions}
    for record in context.book.records():
        if record.name in wanted:
            continue
        kind, *names = record.name.split("/")
        if kind == "surface":
            remove(safe_path(context.run, f"{STORE}/{'/'.join(names)}"))
            if names[0] not in {surface for surface, _ in surfaces}:
                remove(safe_path(context.run, f"{STORE}/{names[0]}"))
        early = [model_file(names[0], MINIMUM)] if kind == "minimum" else []  # before `planes` it belongs to no stage
        for relative in [*record.files, *early]:
            remove(safe_path(context.run, relative))
        context.book.drop([record.name])


def _lists_spec(out: Path, content: bytes) -> bool:
    """Whether the manifest of a finished run says that its spec.yaml is `content`."""
    return listed_hash(out, SPEC) == sha256(content).hexdigest()


def _files(out: Path) -> Iterator[str]:
    """Every path below `out` that is no folder, but those in `.work`."""
    for folder, names, files in os.walk(out):
        links = [name for name in names if os.path.islink(os.path.join(folder, name))]  # noqa: PTH118, PTH114
        for name in [*files, *links]:
            relative = (Path(folder) / name).relative_to(out)
            if relative.parts[0] != WORK:
                yield relative.as_posix()
