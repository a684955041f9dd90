"""Any folder of pictures, in the layout of torchvision's ImageFolder: train/CLASS/* and test/CLASS/*.

torchvision lists the files and numbers the classes, after the layout has been looked at here, so that a wrong one is
told in our words. Only the drawn pictures are ever opened, each once.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from tmrepro.data.dataset import DataSection, Dataset, Part, assemble
from tmrepro.data.picture import read_picture, shown
from tmrepro.data.subset import checked_count, draw
from tmrepro.errors import DataError

_LAYOUT = "a data folder holds train/CLASS/* and test/CLASS/*, the same classes in both"


def load(data: DataSection, *, data_dir: Path, on_image: Callable[[int, int], None] | None = None) -> Dataset:
    """The drawn pictures of data_dir/train and data_dir/test as RGB of size x size (`read_picture` says how).

    Both parts are drawn with the same seed. `indices` count the files of a part in the order of class and path.

    Raises:
        DataError: the layout is wrong, or a drawn picture cannot be read.
        UsageError: more pictures are asked for than there are.
    """
    if not data_dir.is_dir():
        raise DataError(f"{shown(data_dir)}: no such folder; {_LAYOUT}. Name the right one with --data-dir")
    train, test = _listed(data_dir / "train", root=data_dir), _listed(data_dir / "test", root=data_dir)
    _require_same_classes(train, test)
    drawn_train = _drawn(train, asked=data.train, field="data.train", seed=data.seed)
    drawn_test = _drawn(test, asked=data.validation, field="data.validation", seed=data.seed)

    done, total = 0, len(drawn_train) + len(drawn_test)

    def part(listing: _Listing, drawn: Int64[np.ndarray, " n"]) -> Part:
        nonlocal done
        images = np.empty((len(drawn), 3, data.size, data.size), dtype=np.uint8)
        for position, index in enumerate(drawn):
            images[position] = read_picture(listing.files[index], size=data.size)
            done += 1
            if on_image is not None:
                on_image(done, total)
        return Part(images=images, labels=listing.labels[drawn], indices=drawn)

    with warnings.catch_warnings():
        # Pillow warns of odd metadata, which nobody reads here, and of large pictures, which read_picture refuses.
        warnings.simplefilter("ignore")
        return assemble(
            train=part(train, drawn_train),
            validation=part(test, drawn_test),
            classes=train.classes,
            source=f"image folder, {len(train.classes)} classes",
        )


@dataclass(frozen=True)
class _Listing:
    """The picture files of one part, class by class, and what class each belongs to."""

    folder: Path
    files: tuple[Path, ...]
    labels: Int64[np.ndarray, " n"]
    classes: tuple[str, ...]


def _listed(folder: Path, *, root: Path) -> _Listing:
    if not folder.is_dir():
        hint = next((name for name in ("val", "valid", "validation") if (root / name).is_dir()), None)
        rename = f"; rename {hint}/ to test/" if hint and folder.name == "test" else ""
        raise DataError(f"{shown(folder)}: no such folder; {_LAYOUT}{rename}")
    _refuse_links(folder, root=root)
    if not any(entry.is_dir() for entry in folder.iterdir()):
        raise DataError(f"{shown(folder)}: holds no class folders; {_LAYOUT}")
    listing = ImageFolder(folder, allow_empty=True)
    labels = np.array(listing.targets, dtype=np.int64)
    counts = np.bincount(labels, minlength=len(listing.classes))
    for name, count in zip(listing.classes, counts, strict=True):
        if not name.isprintable():
            raise DataError(f"{shown(folder / name)}: the name of a class must be printable text; rename the folder")
        if count == 0:
            kinds = ", ".join(IMG_EXTENSIONS)
            msg = (
                f"{shown(folder / name)}: holds no images (files ending in {kinds}); add some, or take the folder away"
            )
            raise DataError(msg)
    if len(listing.classes) < 2:
        msg = f"{shown(folder)}: holds one class, {listing.classes[0]}; a classifier needs at least two"
        raise DataError(msg)
    files = tuple(Path(path) for path, _ in listing.samples)
    return _Listing(folder=folder, files=files, labels=labels, classes=tuple(listing.classes))


def _refuse_links(folder: Path, *, root: Path) -> None:
    """Links must not lead out of the data folder, where its owner hasn't looked, nor to folders, hence in circles."""
    home = root.resolve()

    def unreadable(error: OSError) -> None:
        raise DataError(f"{shown(Path(error.filename))}: cannot be listed ({error.strerror})") from error

    linked = [folder] if folder.is_symlink() else []
    for parent, folders, files in os.walk(folder, onerror=unreadable):
        linked += [Path(parent, name) for name in (*folders, *files) if Path(parent, name).is_symlink()]
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
        raise DataError(f"{shown(link)}: this link {problem} ({shown(target)}); put the files themselves in its place")


def _require_same_classes(train: _Listing, test: _Listing) -> None:
    for here, there in ((train, test), (test, train)):
        if missing := sorted(set(there.classes) - set(here.classes)):
            msg = f"{shown(here.folder)}: lacks {', '.join(missing)}, which {shown(there.folder)} has; {_LAYOUT}"
            raise DataError(msg)


def _drawn(listing: _Listing, *, asked: int | None, field: str, seed: int) -> Int64[np.ndarray, " n"]:
    count = checked_count(asked, available=len(listing.files), field=field, where=shown(listing.folder))
    return draw(listing.labels, count=count, seed=seed)
