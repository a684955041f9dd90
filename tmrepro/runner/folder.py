"""The run folder as a whole: whether it belongs to the spec, is finished, is damaged, or has unexpected files."""

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
    """Check that `out` can hold a run of `spec`. Nothing in it is changed.

    Raises:
        UsageError: it is a file, holds something else, or holds the run of another spec.
        DamagedError: its spec.yaml is invalid, or differs from that of the finished run.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; choose a folder with --out")
    names = {item.name for item in out.iterdir()} - {WORK} if out.exists() else set()
    if not names:
        return
    if all(find_litter(name) for name in names):
        refuse_litter(out)
    if _lists_spec(out, dump_spec(spec).encode()):
        return  # a run of `spec`, even if its spec.yaml is damaged
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
    """On an error, remove `.work` if the folder is new (it would block the corrected spec) or finished."""
    try:
        yield
    except BaseException:
        with suppress(OSError, StorageError):  # the first error is the one to report
            nothing_begun = {item.name for item in out.iterdir()} == {WORK}
            if nothing_begun or (out / MANIFEST).exists():
                remove_work(out)
            if nothing_begun:
                out.rmdir()
        raise


def is_complete(out: Path) -> bool:
    """Return whether the folder holds a finished run that agrees with its manifest."""
    return (out / MANIFEST).exists() and not check_manifest(out, working=True)


def reopen(out: Path, reporter: Reporter, *, also: AbstractSet[str] = frozenset()) -> None:
    """Restore the stage records of a finished run that was damaged later, so that undamaged stages are kept.

    `also` are files that may exist besides those of its stages.

    Raises:
        DamagedError: the folder has unexpected files or links.
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
    remove(out / WORK / "stages")  # of an interrupted attempt to reopen
    book = StageBook(out)
    for record in records:
        book.put(record)
    remove(out / MANIFEST)


def _put_back(out: Path, reporter: Reporter) -> list[IntegrityFinding]:
    """Undo changes of line ends in text files, using the hashes of the manifest. Return the findings that remain."""
    findings = check_manifest(out, working=True)
    converted = [found.path for found in findings if found.problem == "converted" and found.path != MANIFEST]
    for path in converted:
        content = old_content(out, path)
        if content is not None:
            write_bytes(safe_path(out, path), content, work=work_folder(out))
            reporter.note(f"{out / path}: its line ends were restored")
    return check_manifest(out, working=True) if converted else findings


def check_foreign(out: Path, records: Sequence[StageRecord], *, also: AbstractSet[str] = frozenset()) -> None:
    """Check that every file in `out` is written by the stages `records`, by the end of a run, or is in `also`.

    Raises:
        DamagedError: a file is not; the manifest would include it.
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
    """Remove what earlier attempts made and this run does not need, such as files of a network that failed this time."""
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
        early = [model_file(names[0], MINIMUM)] if kind == "minimum" else []  # it belongs to no stage before `planes`
        for relative in [*record.files, *early]:
            remove(safe_path(context.run, relative))
        context.book.drop([record.name])


def _lists_spec(out: Path, content: bytes) -> bool:
    """Return whether the manifest of a finished run lists `content` as its spec.yaml."""
    return listed_hash(out, SPEC) == sha256(content).hexdigest()


def _files(out: Path) -> Iterator[str]:
    """Yield the path of every file and link below `out`, except those in `.work`."""
    for folder, names, files in os.walk(out):
        links = [name for name in names if os.path.islink(os.path.join(folder, name))]  # noqa: PTH118, PTH114
        for name in [*files, *links]:
            relative = (Path(folder) / name).relative_to(out)
            if relative.parts[0] != WORK:
                yield relative.as_posix()
