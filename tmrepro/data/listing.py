"""Which files of a folder are pictures, and of which class. Each file is a picture, is listed as left out, or is refused.

The order is that of torchvision's ImageFolder: classes by name, then folders below them and files by path. So `indices`,
and the drawn pictures, are the same as with that loader. But ImageFolder skips other files without a message.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from tmrepro.data.picture import FORMATS, SUFFIXES, looks_like_picture, shown
from tmrepro.errors import DataError

LAYOUT = "a data folder holds train/CLASS/* and test/CLASS/*, the same classes in both"

# Files of systems and file managers, in lower case. Names that begin with a dot are litter too.
LITTER = frozenset({
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "#recycle",
    "$recycle.bin", "system volume information", "lost+found", "__pycache__",
})  # fmt: skip
# Pictures that no decoder here reads, or not completely. (.svg and .eps are programs.)
OTHER_PICTURES = frozenset({
    ".arw", ".avif", ".avifs", ".blp", ".bw", ".cr2", ".cr3", ".cur", ".dcm", ".dcx", ".dds", ".dng", ".emf", ".eps", ".exr",
    ".fit", ".fits", ".flc", ".fli", ".fts", ".hdr", ".heic", ".heif", ".hif", ".icns", ".ico", ".j2c", ".j2k", ".jls", ".jp2",
    ".jpc", ".jpf", ".jpx", ".jxl", ".jxr", ".mng", ".mpo", ".nef", ".orf", ".pam", ".pcd", ".pcx", ".pef", ".pfm", ".psb",
    ".psd", ".qoi", ".raf", ".ras", ".rgb", ".rgba", ".rw2", ".sgi", ".svg", ".svgz", ".tga", ".wdp", ".wmf", ".xbm", ".xcf",
    ".xpm",
})  # fmt: skip


@dataclass(frozen=True)
class Listing:
    """The picture files of one part, class by class, the class of each, and the files that are not pictures."""

    folder: Path
    files: tuple[Path, ...]
    labels: Int64[np.ndarray, " n"]
    classes: tuple[str, ...]
    left_out: tuple[Path, ...]


def listed(folder: Path, *, root: Path) -> Listing:
    """Return the pictures of the part `folder` of the data folder `root`.

    Raises:
        DataError: the layout is wrong, or a picture would have to be left out.
    """
    if not folder.is_dir():
        hint = next((name for name in ("val", "valid", "validation") if (root / name).is_dir()), None)
        rename = f"; rename {hint}/ to test/" if hint and folder.name == "test" else ""
        raise DataError(f"{shown(folder)}: no such folder; {LAYOUT}{rename}")
    _refuse_links(folder, root=root)
    with os.scandir(folder) as entries:
        names = {entry.name: entry.is_dir() for entry in entries if not is_litter(entry.name)}
    classes = tuple(sorted(name for name, is_folder in names.items() if is_folder))
    if not classes:
        raise DataError(f"{shown(folder)}: holds no class folders; {LAYOUT}")
    left_out = [folder / name for name in sorted(set(names) - set(classes))]
    for path in left_out:
        if _is_picture(path) or _is_another_picture(path):
            raise DataError(f"{shown(path)}: a picture outside the class folders; move it into one, or remove it")
    files, labels = [], []
    for number, name in enumerate(classes):
        pictures, others = _sorted_out(folder / name)
        if not name.isprintable():
            raise DataError(f"{shown(folder / name)}: the name of a class must be printable text; rename the folder")
        if not pictures:
            kinds = ", ".join(sorted(SUFFIXES))
            msg = f"{shown(folder / name)}: holds no images (files ending in {kinds}); add some, or remove the folder"
            raise DataError(msg)
        files += pictures
        labels += [number] * len(pictures)
        left_out += others
    if len(classes) < 2:
        raise DataError(f"{shown(folder)}: holds one class, {classes[0]}; a classifier needs at least two")
    return Listing(folder, tuple(files), np.array(labels, dtype=np.int64), classes, tuple(left_out))


def is_litter(name: str) -> bool:
    """Return whether a file or folder of this name is hidden or litter: neither a class nor a picture."""
    return name.startswith(".") or name.lower() in LITTER


def _sorted_out(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the pictures of a class, and the other files.

    Raises:
        DataError: a file is a picture by its name or content, but no decoder here reads it under that name.
    """
    pictures, others = [], []
    for path in [Path(parent, name) for parent, _, files in sorted(_walked(folder)) for name in sorted(files)]:
        if _is_picture(path):
            pictures.append(path)
        elif _is_another_picture(path):
            msg = (
                f"{shown(path)}: a picture of a kind that is not read (expected: files ending in {', '.join(sorted(SUFFIXES))}, "
                f"of the formats {', '.join(FORMATS)}); convert or rename it, or remove it"
            )
            raise DataError(msg)
        else:
            others.append(path)
    return pictures, others


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _is_another_picture(path: Path) -> bool:
    return path.suffix.lower() in OTHER_PICTURES or looks_like_picture(path)


def _walked(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield what os.walk yields, without litter and what is below it."""

    def unreadable(error: OSError) -> None:
        raise DataError(f"{shown(Path(error.filename))}: cannot be listed ({error.strerror})") from error

    for parent, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not is_litter(name)]
        yield parent, folders, [name for name in files if not is_litter(name)]


def _refuse_links(folder: Path, *, root: Path) -> None:
    """Raise DataError if a link leads out of the data folder (to unexpected files), nowhere, or to a folder (a circle)."""
    home = root.resolve()
    linked = [folder] if folder.is_symlink() else []
    for parent, folders, files in _walked(folder):
        linked += [path for path in (Path(parent, name) for name in (*folders, *files)) if path.is_symlink()]
    for link in linked:
        target = Path(os.path.realpath(link))
        if not target.is_relative_to(home):
            problem = "leads out of the data folder"
        elif not target.exists():
            problem = "leads nowhere"
        elif target.is_dir():
            problem = "leads to a folder"
        else:
            continue
        raise DataError(f"{shown(link)}: this link {problem} ({shown(target)}); replace it with the files themselves")
