"""CIFAR-10 as its authors publish it for Python, read by torchvision after the MD5 of every file has been checked.

The files are pickles, and unpickling can run code. So only files that are bitwise identical to the published ones are
unpickled. torchvision checks too, but reports only "not found or corrupted"; here each wrong file is named.
"""

from __future__ import annotations

import errno
import hashlib
import warnings
from http.client import HTTPException
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import download_and_extract_archive

from tmrepro.data.dataset import DataSection, Dataset, Part, assemble
from tmrepro.data.picture import shown
from tmrepro.data.subset import checked_count, draw
from tmrepro.errors import DataError, StorageError, UsageError

_SIDE = 32
_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}


def load(data: DataSection, *, data_dir: Path, download: bool) -> Dataset:
    """Return the training part and the test part (the validation), each drawn with the same seed.

    `data_dir` holds cifar-10-batches-py, or is that folder. `indices` count the pictures in the order of the files. With
    `download`, a missing or incomplete set is downloaded, or unpacked if the complete archive is there.

    Raises:
        DataError: a file is missing or altered, the archive is not unpacked, or the download fails.
        UsageError: more pictures are asked for than the set has, or a size other than 32.
        StorageError: the download cannot be written.
    """
    if data.size != _SIDE:
        raise UsageError(f"data.size: CIFAR-10's images are {_SIDE} x {_SIDE} (got {data.size}); leave it at {_SIDE}")
    root = data_dir.absolute()
    if root.name == CIFAR10.base_folder:
        root = root.parent
    if download and _faults(root):
        _fetch(root)
    _require_whole(root)
    train, test = _published(root, train=True), _published(root, train=False)
    return assemble(
        train=_part(train, asked=data.train, field="data.train", where="CIFAR-10's training set", seed=data.seed),
        validation=_part(test, asked=data.validation, field="data.validation", where="its test set", seed=data.seed),
        classes=tuple(train.classes),
        source="CIFAR-10, the published files (MD5 checked)",
    )


def _published(root: Path, *, train: bool) -> CIFAR10:
    with warnings.catch_warnings():
        # The pickles were written by a NumPy of 2009. Today's NumPy warns about how they describe a dtype.
        warnings.simplefilter("ignore")
        return CIFAR10(root, train=train, download=False)


def _part(published: CIFAR10, *, asked: int | None, field: str, where: str, seed: int) -> Part:
    labels: Int64[np.ndarray, " n"] = np.array(published.targets, dtype=np.int64)
    drawn = draw(labels, count=checked_count(asked, available=len(labels), field=field, where=where), seed=seed)
    # torchvision holds n x 32 x 32 x 3.
    images = np.ascontiguousarray(published.data[drawn].transpose(0, 3, 1, 2))
    return Part(images=images, labels=labels[drawn], indices=drawn)


def _require_whole(root: Path) -> None:
    """Raise DataError if files are missing or altered. The message names each of them, and says what to do."""
    faults = _faults(root)
    if not faults:
        return
    folder, archive = root / CIFAR10.base_folder, root / CIFAR10.filename
    if folder.is_dir():
        remedy = f"delete the folder {shown(folder)} and run again with --download"
    elif not archive.is_file():
        remedy = "give its folder with --data-dir, or run again with --download"
        if (root / "cifar-10-batches-bin").is_dir():
            remedy += " (cifar-10-batches-bin is the version for C; the version for Python is needed)"
    elif (found := _md5(archive)) == CIFAR10.tgz_md5:
        remedy = f"{shown(archive)} is complete but not unpacked: run again with --download, which unpacks it"
    else:
        faults = [_difference(archive, expected=CIFAR10.tgz_md5, found=found) + " (half downloaded?)"]
        remedy = f"delete {shown(archive)} and run again with --download"
    raise DataError(
        "CIFAR-10 is missing or incomplete:\n" + "\n".join(f"  {fault}" for fault in faults) + f"\n{remedy}"
    )


def _faults(root: Path) -> list[str]:
    folder = root / CIFAR10.base_folder
    if not folder.is_dir():
        return [f"{shown(folder)}: no such folder"]
    faults = []
    meta = (CIFAR10.meta["filename"], CIFAR10.meta["md5"])
    for name, expected in (*CIFAR10.train_list, *CIFAR10.test_list, meta):
        path = folder / name
        if not path.is_file():
            faults.append(f"{shown(path)}: missing")
        elif (found := _md5(path)) != expected:
            faults.append(_difference(path, expected=expected, found=found))
    return faults


def _fetch(root: Path) -> None:
    try:
        # torchvision skips the download if the archive is complete.
        download_and_extract_archive(CIFAR10.url, root, filename=CIFAR10.filename, md5=CIFAR10.tgz_md5)
    except (OSError, HTTPException, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
            msg = f"{shown(root)}: CIFAR-10 cannot be written there ({error.strerror}); free some space, or name another folder"
            raise StorageError(msg) from error
        msg = (
            f"CIFAR-10 cannot be downloaded ({error}); try again, or copy {CIFAR10.filename} into "
            f"{shown(root)} and run again with --download, which then only unpacks it"
        )
        raise DataError(msg) from error


def _difference(path: Path, *, expected: str, found: str) -> str:
    return f"{shown(path)}: not the published file: MD5 expected {expected}, found {found}"


def _md5(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read ({error.strerror}); check its permissions") from error
