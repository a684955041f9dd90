"""Any folder of pictures, in the layout of torchvision's ImageFolder: train/CLASS/* and test/CLASS/*.

Only the drawn pictures are decoded, each once. `listing` says which files are pictures.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from tmrepro.data.dataset import DataSection, Dataset, Part, assemble
from tmrepro.data.listing import LAYOUT, Listing, listed
from tmrepro.data.picture import read_picture, shown
from tmrepro.data.subset import checked_count, draw
from tmrepro.errors import DataError

LEFT_OUT_NAMED = 10  # files that are not pictures; more are only counted


def load(data: DataSection, *, data_dir: Path, on_image: Callable[[int, int], None] | None = None) -> Dataset:
    """Return the drawn pictures of data_dir/train and data_dir/test as RGB of size x size (`read_picture` says how).

    Both parts are drawn with the same seed. `indices` count the files of a part, ordered by class and path.

    Raises:
        DataError: the layout is wrong, or a drawn picture cannot be read.
        UsageError: more pictures are asked for than there are.
    """
    if not data_dir.is_dir():
        raise DataError(f"{shown(data_dir)}: no such folder; {LAYOUT}. Name the right one with --data-dir")
    train, test = listed(data_dir / "train", root=data_dir), listed(data_dir / "test", root=data_dir)
    _require_same_classes(train, test)
    drawn_train = _drawn(train, asked=data.train, field="data.train", seed=data.seed)
    drawn_test = _drawn(test, asked=data.validation, field="data.validation", seed=data.seed)

    done, total = 0, len(drawn_train) + len(drawn_test)

    def part(listing: Listing, drawn: Int64[np.ndarray, " n"]) -> Part:
        nonlocal done
        images = np.empty((len(drawn), 3, data.size, data.size), dtype=np.uint8)
        for position, index in enumerate(drawn):
            images[position] = read_picture(listing.files[index], size=data.size)
            done += 1
            if on_image is not None:
                on_image(done, total)
        return Part(images=images, labels=listing.labels[drawn], indices=drawn)

    with warnings.catch_warnings():
        # Pillow warns about odd metadata, which is not used here, and large pictures, which read_picture refuses.
        warnings.simplefilter("ignore")
        return assemble(
            train=part(train, drawn_train),
            validation=part(test, drawn_test),
            classes=train.classes,
            source=f"image folder, {len(train.classes)} classes",
            notes=_notes((*train.left_out, *test.left_out), root=data_dir),
        )


def _notes(left_out: tuple[Path, ...], *, root: Path) -> tuple[str, ...]:
    """Return a note on the files that are not pictures, such as a list of labels."""
    if not left_out:
        return ()
    named = ", ".join(shown(path.relative_to(root)) for path in left_out[:LEFT_OUT_NAMED])
    more = f" and {len(left_out) - LEFT_OUT_NAMED} more" if len(left_out) > LEFT_OUT_NAMED else ""
    files = "1 file that is no picture is" if len(left_out) == 1 else f"{len(left_out)} files that are no pictures are"
    return (f"{files} left out: {named}{more}",)


def _require_same_classes(train: Listing, test: Listing) -> None:
    for here, there in ((train, test), (test, train)):
        if missing := sorted(set(there.classes) - set(here.classes)):
            msg = f"{shown(here.folder)}: lacks {', '.join(missing)}, which {shown(there.folder)} has; {LAYOUT}"
            raise DataError(msg)


def _drawn(listing: Listing, *, asked: int | None, field: str, seed: int) -> Int64[np.ndarray, " n"]:
    count = checked_count(asked, available=len(listing.files), field=field, where=shown(listing.folder))
    return draw(listing.labels, count=count, seed=seed)
