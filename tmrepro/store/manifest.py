"""manifest-sha256.txt: every file of a folder with its SHA-256, in the format of `sha256sum -c`.

It is written last, and checked without trust. Every missing, unexpected, changed or empty file, and every link, is a
finding with its path. No content makes the check itself fail.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tmrepro.errors import DamagedError
from tmrepro.spec.limits import FILE_BYTES
from tmrepro.store.atomic import WORK, open_plain, read_bytes, refuse_too_many, remove, safe_path, shown, write_text
from tmrepro.store.litter import find_litter, litter_words, removal_command
from tmrepro.store.run_files import MANIFEST
from tmrepro.store.transport import COPY_AGAIN, LAST_LINE, LIMIT_BYTES, changed_on_the_way, is_pointer, plain_line

MANIFEST_LIMIT_LINES = 2**20
MANIFEST_LIMIT_LINE_BYTES = 2**13  # twice the longest path that Linux can open
MALFORMED_LIMIT = 100  # findings; a file that is not a manifest would give one per line

Problem = Literal["missing", "extra", "changed", "converted", "empty", "link", "unreadable", "malformed", "litter"]

EMPTY_FOLDER = "empty folder"

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_REMEDY = "run 'tmrepro run SPEC --out RUN' to recompute it"


@dataclass(frozen=True)
class IntegrityFinding:
    """An error in a folder. `path` is relative to the folder, with '/', and safe to print."""

    path: str
    problem: Problem
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def write_manifest(run: Path, *, work: Path) -> None:
    """Write the manifest of every file below `run` except itself and `.work`, sorted by the bytes of the path.

    Empty folders, which remain after files are removed, are removed too, because a manifest cannot list them.

    Raises:
        DamagedError: there is a link, litter, or a file name that a manifest cannot contain.
        StorageError: the folder cannot be written.
    """
    paths = []
    refuse_litter(run)
    for path, kind in _entries(run):
        if path == MANIFEST or path.split("/")[0] == WORK:
            continue
        if kind == EMPTY_FOLDER:
            remove(run / path)
            continue
        if kind != "file":
            raise DamagedError(f"{shown(path)}: expected plain files only, found a {kind}; remove it")
        if not path.isprintable() or "\\" in path:
            raise DamagedError(f"{shown(path)}: a file name that a manifest cannot have; remove or rename the file")
        paths.append(path)
    lines = [f"{digest}  {path}\n" for path, digest in file_hashes(run, paths).items()]
    write_text(run / MANIFEST, "".join(lines), work=work)


def check_manifest(run: Path, *, working: bool = False) -> list[IntegrityFinding]:
    """Return all differences of a folder from its manifest, sorted by path, litter last.

    `working`: the caller holds the run's lock. Otherwise a `.work` left by an unfinished run is a finding.
    """
    expected, findings = _read_manifest(run)
    kinds = dict(_entries(run))
    for path, digest in expected.items():
        if path not in kinds:
            findings.append(_finding(path, "missing", f"missing; {_REMEDY}"))
        elif kinds[path] == "file":
            findings.extend(_compare(run, path, digest))
    for path, kind in kinds.items():
        if path.split("/")[0] == WORK and kind in {"file", EMPTY_FOLDER}:
            continue
        if path not in expected and (litter := _litter(path, kind)):
            findings.append(litter)
        elif kind == "link":
            findings.append(_finding(path, "link", "a symbolic link; a run folder may contain regular files only"))
        elif kind == EMPTY_FOLDER:
            findings.append(_finding(path, "extra", f"an {kind}, which a run never has"))
        elif kind != "file":
            findings.append(_finding(path, "unreadable", f"expected a plain file, found a {kind}"))
        elif path not in expected and path != MANIFEST:
            findings.append(_finding(path, "extra", "unexpected file: not in the manifest"))
    if not working and os.path.lexists(run / WORK):
        findings.append(_finding(WORK, "extra", f"left by an unfinished run; {_REMEDY}"))
    return sorted(set(findings), key=lambda finding: (finding.problem == "litter", finding.path, finding.problem))


def told(run: Path, findings: Sequence[IntegrityFinding]) -> str:
    """Describe the first of `findings`. If there is only litter, describe all of it, and how to remove it."""
    if findings[0].problem != "litter":
        return str(findings[0])
    paths = [finding.path for finding in findings]
    return f"{litter_words(paths)}; nothing else is wrong; remove it: {removal_command(str(run), paths)}"


def refuse_litter(run: Path) -> None:
    """Raise DamagedError if other programs left files in `run`, because a manifest would list them."""
    found = {litter for path, kind in _entries(run) if path.split("/")[0] != WORK and (litter := _litter(path, kind))}
    if found:
        paths = sorted(finding.path for finding in found)
        command = removal_command(str(run), paths)
        raise DamagedError(
            f"{run}: {litter_words(paths)}, which is not part of a run; remove it, then run again: {command}"
        )


def old_content(run: Path, path: str) -> bytes | None:
    """Return the content of a file before its line ends were changed; None if they were not, or it cannot be recovered."""
    digest = listed_hash(run, path)
    data = read_bytes(safe_path(run, path), limit_bytes=LIMIT_BYTES, name=path)
    found = None if digest is None else changed_on_the_way(data, digest)
    return None if found is None else found[1]


def file_hashes(run: Path, paths: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of each of `paths` (relative to `run`), in the order of the paths' bytes. Files are streamed.

    Raises:
        DamagedError: a file is missing, a link, or unreadable.
    """
    return {path: _hash(run, path)[0] for path in sorted(paths, key=os.fsencode)}


def listed_hash(run: Path, path: str) -> str | None:
    """Return the SHA-256 of `path` in the manifest of `run`; None if it is not listed or the manifest is invalid."""
    return _read_manifest(run)[0].get(path)


def listed_hashes(run: Path) -> dict[str, str]:
    """Return the SHA-256 of each path in the manifest of `run`. The caller has checked the manifest."""
    return _read_manifest(run)[0]


def refuse_strange(run: Path) -> None:
    """Raise DamagedError unless `run` has only regular files and folders, or does not exist.

    Call this before writing into a folder, because a link could redirect the write.

    Raises:
        DamagedError: there is a link, pipe, socket or device, or a folder that cannot be read.
    """
    for path, kind in _entries(run) if run.is_dir() else ():
        if kind not in {"file", EMPTY_FOLDER}:
            raise DamagedError(f"{run / shown(path)}: expected plain files only, found a {kind}; remove it")


def _compare(run: Path, path: str, digest: str) -> Iterator[IntegrityFinding]:
    try:
        found, size = _hash(run, path)
    except DamagedError as error:
        yield _finding(path, "unreadable", str(error))
        return
    if found != digest and size == 0:
        yield _finding(path, "empty", f"an empty file; {_REMEDY}")
    elif found != digest and (converted := _converted(run, path, digest, size=size)):
        yield converted
    elif found != digest:
        yield _finding(path, "changed", f"SHA-256 differs (stored {digest[:8]}, computed {found[:8]}); {_REMEDY}")


def _converted(run: Path, path: str, digest: str, *, size: int) -> IntegrityFinding | None:
    """Return the finding for a changed file whose original content can be identified; else None."""
    if size > LIMIT_BYTES:
        return None
    try:
        data = read_bytes(safe_path(run, path), limit_bytes=LIMIT_BYTES, name=path)
    except DamagedError:
        return None
    if is_pointer(data):
        return _finding(path, "changed", "a pointer of Git LFS, not the file itself; run 'git lfs pull'")
    found = changed_on_the_way(data, digest)
    if found is None:
        return None
    return _finding(path, "converted", f"{found[0]}, otherwise unchanged; {COPY_AGAIN}")


def _litter(path: str, kind: str) -> IntegrityFinding | None:
    """Return the finding for `path` if it is litter. Links and special files are not litter."""
    found = find_litter(path) if kind not in {"link", "special file"} else None
    if found is None:
        return None
    return _finding(
        found.path, "litter", f"litter of {found.source}, which is not part of the run; remove it, then verify again"
    )


def _hash(run: Path, path: str) -> tuple[str, int]:
    with open_plain(safe_path(run, path), name=path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > FILE_BYTES:
            raise DamagedError(f"{shown(path)}: expected at most {FILE_BYTES} bytes, found {size}")
        return hashlib.file_digest(file, "sha256").hexdigest(), size


def _read_manifest(run: Path) -> tuple[dict[str, str], list[IntegrityFinding]]:
    """Return the SHA-256 of each path in the manifest, and the findings about the manifest itself."""
    expected: dict[str, str] = {}
    findings: list[IntegrityFinding] = []
    converted: dict[str, None] = {}  # changes of the whole file, each listed once
    try:
        for number, read in enumerate(_lines(run), start=1):
            if len(findings) == MALFORMED_LIMIT or number > MANIFEST_LIMIT_LINES:
                findings.append(_finding(MANIFEST, "malformed", f"line {number}: not read any further; {_REMEDY}"))
                break
            raw, said = plain_line(read, first=number == 1)
            converted.update(dict.fromkeys(said))
            line = raw.removesuffix(b"\n").decode("utf-8")
            match = _LINE.fullmatch(line)
            if match is None:
                problem_with = "expected a SHA-256, two spaces and a path"
            elif not _is_inside(match[2]):
                problem_with = "a path that could lead outside the folder"
            elif match[2] in expected:
                problem_with = "a duplicate path"
            elif not raw.endswith(b"\n") and not os.path.lexists(run / match[2]):
                problem_with = "an incomplete line"
            else:
                converted.update({} if raw.endswith(b"\n") else {LAST_LINE: None})
                expected[match[2]] = match[1]
                continue
            findings.append(_finding(MANIFEST, "malformed", f"line {number}: {problem_with}: {shown(line[:160])}"))
    except DamagedError as error:
        problem: Problem = "unreadable" if os.path.lexists(run / MANIFEST) else "missing"
        findings.append(_finding(MANIFEST, problem, f"{str(error).removeprefix(f'{MANIFEST}: ')}; {_REMEDY}"))
        return {}, findings
    except UnicodeDecodeError as error:
        findings.append(_finding(MANIFEST, "malformed", f"expected UTF-8 ({error.reason}); {_REMEDY}"))
        return {}, findings
    words = f"{' and '.join(converted)}, by git, an editor or a mail program; {COPY_AGAIN}"
    findings += [_finding(MANIFEST, "converted", words)] if converted else []
    if not expected and not findings:
        findings.append(_finding(MANIFEST, "empty", f"an empty file; {_REMEDY}"))
    return expected, findings


def _lines(run: Path) -> Iterator[bytes]:
    """Yield the lines of the manifest with their line ends. A line that is too long is cut off."""
    with open_plain(run / MANIFEST, name=MANIFEST) as file:
        while line := file.readline(MANIFEST_LIMIT_LINE_BYTES):
            yield line


def _is_inside(path: str) -> bool:
    return path.isprintable() and "\\" not in path and not any(part in {"", ".", ".."} for part in path.split("/"))


def _entries(run: Path) -> Iterator[tuple[str, str]]:
    """Yield every path below `run`, except folders that are not empty, with its kind.

    The kinds are: a file, a link, a special file, an empty folder, a folder that cannot be read.
    """
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(run / folder) as entries:
                found = [(f"{folder}{entry.name}", entry.stat(follow_symlinks=False).st_mode) for entry in entries]
        except OSError as error:
            refuse_too_many(error, name=str(run / folder))
            yield folder.rstrip("/") or ".", f"folder that cannot be read ({error.strerror})"
            continue
        if folder and not found:
            yield folder.rstrip("/"), EMPTY_FOLDER
        for path, mode in found:
            if stat.S_ISDIR(mode):
                waiting.append(f"{path}/")
            elif stat.S_ISREG(mode):
                yield path, "file"
            else:
                yield path, "link" if stat.S_ISLNK(mode) else "special file"


def _finding(path: str, problem: Problem, message: str) -> IntegrityFinding:
    return IntegrityFinding(path=shown(path), problem=problem, message=message)
