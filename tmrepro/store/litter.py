"""Litter: files that other programs leave in a folder, known by their names. Litter is neither damage nor part of a run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

# In lower case, because some of these programs change the case. No file or folder of a run has such a name.
_NAMES = {
    "a file manager": (
        # macOS, and its files on disks with other file systems
        ".ds_store", "._*", ".localized", ".apdisk", ".appledouble", ".appledb", ".appledesktop", ".spotlight-v100", ".trashes",
        ".fseventsd", ".temporaryitems", ".documentrevisions-v100", "__macosx",
        # Windows
        "thumbs.db", "thumbs.db:encryptable", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin",
        "system volume information",
        # Linux, and network storage
        ".directory", ".trash-*", ".thumbnails", "lost+found", "@eadir", "#recycle", "@recycle",
    ),
    "an editor": (
        "*~", ".*.sw[a-p]", "*.swp", "#*#", "~$*", ".~lock.*#", ".goutputstream-*", ".ipynb_checkpoints", ".idea",
        ".vscode",
    ),
    "a program that synchronises": (
        "*.sync-conflict-*", "*conflicted copy*", ".dropbox", ".dropbox.attr", ".dropbox.cache", ".stfolder", ".stversions",
        ".syncthing.*.tmp", "~syncthing~*.tmp", ".sync", ".tmp.drivedownload",
        ".tmp.driveupload",
    ),
    "a network file system": (".nfs*", ".fuse_hidden*", ".smbdelete*", ".panfs*"),
}  # fmt: skip
_FEW = 5  # a command lists up to this many paths


@dataclass(frozen=True)
class Litter:
    """A file or folder that is litter, by its path relative to the run. `pattern` matches similar names."""

    path: str
    source: str
    pattern: str


def find_litter(path: str) -> Litter | None:
    """Return the topmost part of `path` (relative, with '/') that is litter; None if there is none."""
    if not path.isprintable():
        return None
    parts = path.split("/")
    for number, name in enumerate(parts, start=1):
        for source, patterns in _NAMES.items():
            for pattern in patterns:
                if fnmatchcase(name.lower(), pattern):
                    return Litter("/".join(parts[:number]), source, pattern)
    return None


def litter_words(paths: Sequence[str]) -> str:
    """Describe litter: `litter of a file manager (.DS_Store and 2 more)`."""
    found = [litter for litter in map(find_litter, paths) if litter is not None]
    sources = " and ".join(dict.fromkeys(litter.source for litter in found))
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"litter of {sources} ({paths[0]}{more})"


def removal_command(folder: str, paths: Sequence[str]) -> str:
    """Return a shell command that removes exactly `paths`, which are all litter, from `folder`."""
    if len(paths) <= _FEW:
        return " ".join(["rm -rf --", *(shlex.quote(f"{folder}/{path}") for path in paths)])
    found = [litter for litter in map(find_litter, paths) if litter is not None]
    names = [f"-iname {shlex.quote(pattern)}" for pattern in dict.fromkeys(litter.pattern for litter in found)]
    start = shlex.quote(f"./{folder}" if folder.startswith("-") else folder)
    return f"find {start}/ -mindepth 1 \\( {' -o '.join(names)} \\) -prune -exec rm -rf {{}} +"
