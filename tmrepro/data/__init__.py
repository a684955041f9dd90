"""The data room: CIFAR-10, a folder of pictures, scikit-learn's digits or the user's own arrays, with a fingerprint.

Every picture is decoded once. The result is a `Dataset`. Either it has two parts of uint8 pictures [n, 3, h, w] that fit
on the device whole, and the constants with which `scale` scales them there. Or it has two parts of arrays of any shape,
which networks get unchanged. The sources (`cifar10`, `folder`, `digits`, `arrays`, `factory`) do not import each other.
Each is imported only when it is needed.

cifar10.py    the official files; folder.py: a folder of pictures, of which listing.py lists and picture.py decodes each
digits.py     scikit-learn's digits
arrays.py     the user's arrays in a file; factory.py: from a function; own.py: checks both
dataset.py    the data set and its fingerprint; subset.py: a stratified part of it; scaling.py: what networks see
files.py      opens files of a data set
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

import torch
from jaxtyping import Shaped
from torch import Tensor

from tmrepro.data.dataset import DataSection, Dataset, Part, fingerprint
from tmrepro.data.picture import shown
from tmrepro.data.scaling import Scaling, scale
from tmrepro.data.subset import draw
from tmrepro.errors import DataError
from tmrepro.spec import AnyDataSpec, ArraysSpec, CustomDataSpec, DataSpec
from tmrepro.spec.user_paths import user_path
from tmrepro.usercode import is_at_hand as code_is_at_hand

DATA_DIR_VARIABLE = "TMREPRO_DATA"
CIFAR10_FILES = "cifar-10-batches-py"

__all__ = [
    "DATA_DIR_VARIABLE",
    "DataSection",
    "Dataset",
    "Part",
    "arrays_file",
    "draw",
    "fingerprint",
    "is_at_hand",
    "load_dataset",
    "network_inputs",
    "place_of",
    "scale",
]


def load_dataset(
    data: DataSection | ArraysSpec | CustomDataSpec,
    *,
    data_dir: Path | None = None,
    download: bool = False,
    on_image: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Return the data that the `data` section of a spec describes, drawn, decoded and fingerprinted.

    Args:
        data: the section; its `name` selects the source.
        data_dir: the folder of the files; None: the environment variable TMREPRO_DATA. Digits and functions need no folder.
        download: download CIFAR-10 into `data_dir` if it is missing or incomplete. The other sources ignore this.
        on_image: called as on_image(done, total) after each picture that was decoded from its own file.

    Raises:
        DataError: the files are missing, incomplete, altered or unreadable.
        UsageError: more pictures are asked for than there are, or the user's arrays or function are invalid.
        StorageError: a download cannot be written.
    """
    try:
        return _loaded(data, data_dir=data_dir, download=download, on_image=on_image)
    except OSError as error:
        # What the sources do not handle: a folder without permission, a failing disk, a name that is too long.
        where = shown(Path(error.filename)) if isinstance(error.filename, str) else f"data '{data.name}'"
        raise DataError(
            f"{where}: cannot be read ({error.strerror or error}); correct this, or name another file"
        ) from error


def is_at_hand(data: DataSection | ArraysSpec | CustomDataSpec, *, data_dir: Path | None) -> bool:
    """Return whether the place of the data is known, or none is needed. Files may still be missing.

    The file of arrays must exist, and so must the module of a factory, which is not imported.
    """
    match data:
        case ArraysSpec():
            return data_dir is not None or arrays_file(data, data_dir=None).exists()
        case CustomDataSpec():
            return code_is_at_hand(data.factory)
        case _:
            return data.name == "digits" or data_dir is not None or bool(os.environ.get(DATA_DIR_VARIABLE))


def place_of(data: AnyDataSpec, *, data_dir: Path | None, home: Path | None) -> Path | None:
    """Return the folder of the data: `data_dir`; else, if TMREPRO_DATA does not name one, what the section says.

    Paths in the section are relative to `home`, the folder of the spec file; None: the working directory. TMREPRO_DATA may be
    meant for other data. So for a file of arrays it counts only if it has the file.
    """
    named = user_path(os.environ[DATA_DIR_VARIABLE]) if os.environ.get(DATA_DIR_VARIABLE) else None
    match data:
        case _ if data_dir is not None:
            return data_dir
        case ArraysSpec():
            if named is not None and (named / user_path(data.file)).exists():
                return named
            return home if home is not None and (home / user_path(data.file)).exists() else None
        case DataSpec(folder=str() as folder) if named is None:
            return (home or Path()) / user_path(folder)
        case _:
            return None


def arrays_file(data: ArraysSpec, *, data_dir: Path | None) -> Path:
    """Return the path of the arrays: below `data_dir`; None: below TMREPRO_DATA if it is there, else the working directory."""
    folder = place_of(data, data_dir=data_dir, home=None) or Path()
    return folder / user_path(data.file)


def network_inputs(
    dataset: Dataset, part: Part, *, scaling: Scaling | None, device: torch.device
) -> Shaped[Tensor, "n ..."]:
    """Return the inputs of a part as networks get them. Pixels are copied to `device`, then scaled there."""
    values = torch.from_numpy(part.images).to(device)
    if dataset.mean is None or dataset.deviation is None or scaling is None:
        return values
    return scale(values, scaling=scaling, mean=dataset.mean, deviation=dataset.deviation)


def _loaded(
    data: DataSection | ArraysSpec | CustomDataSpec,
    *,
    data_dir: Path | None,
    download: bool,
    on_image: Callable[[int, int], None] | None,
) -> Dataset:
    match data:
        case ArraysSpec():
            from tmrepro.data import arrays

            path = arrays_file(data, data_dir=data_dir)
            if data_dir is None and not path.exists():
                raise DataError(
                    f"data 'arrays': {shown(path)} does not exist; pass --data-dir DIR, the folder of {data.file!r}"
                )
            return arrays.load(path)
        case CustomDataSpec():
            from tmrepro.data import factory

            return factory.load(data)
    match data.name:
        case "cifar10":
            from tmrepro.data import cifar10

            return cifar10.load(data, data_dir=_data_dir(data_dir, name=data.name), download=download)
        case "images":
            where = _data_dir(data_dir, name=data.name)
            if _holds_cifar10(where):
                from tmrepro.data import cifar10

                return cifar10.load(data, data_dir=where, download=False)
            from tmrepro.data import folder

            return folder.load(data, data_dir=where, on_image=on_image)
        case "digits":
            from tmrepro.data import digits

            return digits.load(data)
        case _:
            assert_never(data.name)


def _holds_cifar10(folder: Path) -> bool:
    """Return whether a folder for pictures has, or is, the published CIFAR-10, and has no folder `train`."""
    return (folder.name == CIFAR10_FILES or (folder / CIFAR10_FILES).is_dir()) and not (folder / "train").exists()


def _data_dir(data_dir: Path | None, *, name: str) -> Path:
    if data_dir is not None:
        return user_path(data_dir)
    if from_environment := os.environ.get(DATA_DIR_VARIABLE):
        return user_path(from_environment)
    holds = {
        "cifar10": f"{CIFAR10_FILES} (add --download to download it into DIR)",
        "images": f"train/CLASS/* and test/CLASS/*, or {CIFAR10_FILES}",
    }
    msg = (
        f"data '{name}': no data folder given; pass --data-dir DIR or set {DATA_DIR_VARIABLE}=DIR, "
        f"the folder that holds {holds[name]}"
    )
    raise DataError(msg)
