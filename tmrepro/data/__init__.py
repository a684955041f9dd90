"""The data room: CIFAR-10, a folder of pictures or scikit-learn's digits, as uint8 pixels with a fingerprint.

Every picture is decoded once. What leaves this room is a `Dataset`: two parts of uint8 pictures [n, 3, h, w] that fit
on the device whole, and the numbers with which `scale` turns them into what a network sees, there. The sources
(`cifar10`, `folder`, `digits`) know nothing of each other; each is imported only when it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

from tmrepro.data.dataset import DataSection, Dataset, Part, fingerprint
from tmrepro.data.picture import shown
from tmrepro.data.scaling import scale
from tmrepro.data.subset import draw
from tmrepro.errors import DataError
from tmrepro.paths import user_path

DATA_DIR_VARIABLE = "TMREPRO_DATA"

__all__ = [
    "DATA_DIR_VARIABLE",
    "DataSection",
    "Dataset",
    "Part",
    "draw",
    "fingerprint",
    "is_at_hand",
    "load_dataset",
    "scale",
]


def load_dataset(
    data: DataSection,
    *,
    data_dir: Path | None = None,
    download: bool = False,
    on_image: Callable[[int, int], None] | None = None,
) -> Dataset:
    """The pictures that the `data` section of a spec asks for, drawn, decoded and fingerprinted.

    Args:
        data: the section; its `name` picks the source.
        data_dir: where the files are; None: the environment variable TMREPRO_DATA. The digits need none.
        download: CIFAR-10 may be fetched into `data_dir` if it is not there whole. The other sources never need it.
        on_image: called as on_image(done, total) after each picture that had to be decoded from its own file.

    Raises:
        DataError: the files are missing, incomplete, altered or unreadable.
        UsageError: more pictures are asked for than there are.
        StorageError: a download cannot be written.
    """
    try:
        return _loaded(data, data_dir=data_dir, download=download, on_image=on_image)
    except OSError as error:
        # What the sources don't foresee: a folder that may not be entered, a disk that fails, a name too long.
        where = shown(Path(error.filename)) if isinstance(error.filename, str) else f"data '{data.name}'"
        raise DataError(f"{where}: cannot be read ({error.strerror or error}); see to it, or name another") from error


def is_at_hand(data: DataSection, *, data_dir: Path | None) -> bool:
    """Whether anybody has said where the files of a data section are, or it needs none. They may be missing all the same."""
    return data.name == "digits" or data_dir is not None or bool(os.environ.get(DATA_DIR_VARIABLE))


def _loaded(
    data: DataSection, *, data_dir: Path | None, download: bool, on_image: Callable[[int, int], None] | None
) -> Dataset:
    match data.name:
        case "cifar10":
            from tmrepro.data import cifar10

            return cifar10.load(data, data_dir=_data_dir(data_dir, name=data.name), download=download)
        case "images":
            from tmrepro.data import folder

            return folder.load(data, data_dir=_data_dir(data_dir, name=data.name), on_image=on_image)
        case "digits":
            from tmrepro.data import digits

            return digits.load(data)
        case _:
            assert_never(data.name)


def _data_dir(data_dir: Path | None, *, name: str) -> Path:
    if data_dir is not None:
        return user_path(data_dir)
    if from_environment := os.environ.get(DATA_DIR_VARIABLE):
        return user_path(from_environment)
    holds = {
        "cifar10": "cifar-10-batches-py (add --download to have it fetched into there)",
        "images": "train/CLASS/* and test/CLASS/*",
    }
    msg = (
        f"data '{name}': no data folder given; pass --data-dir DIR or set {DATA_DIR_VARIABLE}=DIR, "
        f"the folder that holds {holds[name]}"
    )
    raise DataError(msg)
