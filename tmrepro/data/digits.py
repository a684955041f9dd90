"""scikit-learn's handwritten digits: 1,797 small grey pictures of the package. They need no file and no network.

A picture is 8 x 8 with values 0..16. Each value v becomes rint(255 v / 16). Pillow's bilinear filter (integer arithmetic,
the same on every machine) resizes the picture to size x size. All three channels are the same.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from PIL import Image

from tmrepro.data.dataset import DataSection, Dataset, Part, assemble
from tmrepro.data.subset import draw_two
from tmrepro.errors import UsageError

_VALUE_MAX = 16


def load(data: DataSection) -> Dataset:
    """Return the digits. The training part is drawn first, the validation part from the rest.

    If `train` or `validation` is None, that part has the rest.

    Raises:
        UsageError: the two parts together are larger than the set, or neither size is given.
    """
    from sklearn.datasets import load_digits

    source = load_digits()
    labels: Int64[np.ndarray, " n"] = source.target.astype(np.int64)
    train, validation = _counts(data, available=len(labels))
    drawn_train, drawn_validation = draw_two(labels, first=train, second=validation, seed=data.seed)

    def part(indices: Int64[np.ndarray, " n"]) -> Part:
        images = np.stack([_picture(source.images[index], size=data.size) for index in indices])
        return Part(images=images, labels=labels[indices], indices=indices)

    return assemble(
        train=part(drawn_train),
        validation=part(drawn_validation),
        classes=tuple(str(name) for name in source.target_names),
        source="handwritten digits of scikit-learn",
    )


def _counts(data: DataSection, *, available: int) -> tuple[int, int]:
    match data.train, data.validation:
        case None, None:
            msg = "data.train and data.validation: the digits are one set, so at least one of the two needs a number"
            raise UsageError(msg)
        case None, int(validation):
            train = available - validation
        case int(train), None:
            validation = available - train
        case int(train), int(validation):
            pass
    if min(train, validation) < 1 or train + validation > available:
        msg = (
            f"data.train and data.validation: {train} + {validation} images do not fit; there are {available} digits, "
            "and each part needs at least 1"
        )
        raise UsageError(msg)
    return train, validation


def _picture(values: Float64[np.ndarray, "8 8"], *, size: int) -> UInt8[np.ndarray, "3 size size"]:
    grey = Image.fromarray(np.rint(values * 255 / _VALUE_MAX).astype(np.uint8))
    if grey.size != (size, size):
        grey = grey.resize((size, size), Image.Resampling.BILINEAR)
    return np.stack([np.asarray(grey)] * 3)
