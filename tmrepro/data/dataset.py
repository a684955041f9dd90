"""The records of the data room, and the fingerprint that identifies their pixels and labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, Shaped

from tmrepro.data.scaling import channel_statistics
from tmrepro.records import Signature
from tmrepro.usercode import CodeRecord

FINGERPRINT_HEADER = b"tmrepro dataset 1\n"


@runtime_checkable
class DataSection(Protocol):
    """The fields of a `data` section of pictures that this room reads; the model itself is in `tmrepro.spec`.

    `train` and `validation` are numbers of pictures (None: all). `size` is the side of a picture in pixels.
    """

    @property
    def name(self) -> Literal["cifar10", "images", "digits"]: ...  # noqa: D102
    @property
    def train(self) -> int | None: ...  # noqa: D102
    @property
    def validation(self) -> int | None: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Part:
    """Examples in data order: inputs, targets, and the index of each in its source.

    Pictures are RGB pixels 0..255, uint8 [n, 3, h, w], with class numbers int64 [n]. The user's own arrays are inputs of any
    shape, and targets int64 [n] (classes) or float32 [n, ...] (numbers).
    """

    images: Shaped[np.ndarray, "n ..."]
    labels: Shaped[np.ndarray, "n ..."]
    indices: Int64[np.ndarray, " n"]


@dataclass(frozen=True)
class Dataset:
    """A training part and a held-out part, disjoint, of the same classes.

    `classes[y]` is the name of class y; empty if targets are numbers. `source` describes the source of the data (never a path:
    the same data have the same description everywhere). `mean` and `deviation` are per channel over the training part, in pixel
    units 0..255; None for arrays, which networks get unchanged. `fingerprint` covers both parts. `notes` are messages about the
    source for the user. `code` is the record of the factory's code.
    """

    train: Part
    validation: Part
    classes: tuple[str, ...]
    source: str
    mean: tuple[float, float, float] | None
    deviation: tuple[float, float, float] | None
    fingerprint: str
    notes: tuple[str, ...] = ()
    code: CodeRecord | None = None

    @cached_property
    def signature(self) -> Signature:
        """The inputs and outputs of networks for these data."""
        inputs, targets = self.train.images, self.train.labels
        if self.mean is not None:
            return Signature.of_pictures(classes=len(self.classes), size=inputs.shape[-1])
        both = (inputs, self.validation.images)
        whole = inputs.dtype.kind in "iu"
        return Signature(
            shape=inputs.shape[1:],
            dtype=inputs.dtype.name,
            least=min(int(part.min()) for part in both) if whole else 0,
            largest=max(int(part.max()) for part in both) if whole else 0,
            classes=len(self.classes) or None,
            numbers=() if self.classes else targets.shape[1:],
        )


def assemble(
    *, train: Part, validation: Part, classes: tuple[str, ...], source: str, notes: tuple[str, ...] = ()
) -> Dataset:
    """Return a Dataset with its scaling constants and its fingerprint."""
    mean, deviation = channel_statistics(train.images)
    return Dataset(
        train=train,
        validation=validation,
        classes=classes,
        source=source,
        mean=mean,
        deviation=deviation,
        fingerprint=fingerprint(train, validation),
        notes=notes,
    )


def fingerprint(train: Part, validation: Part) -> str:
    """Return the SHA-256 (hex) of pixels and labels, in data order.

    The bytes hashed are FINGERPRINT_HEADER, then for the training part and then for the validation part: the four
    numbers n, 3, h, w as little-endian int64; the pixels, one byte each, in C order; the n labels as little-endian
    int64. So a change of a pixel, a label, the order or a shape changes it, and so does a swap of the parts. The name and the
    format of a file do not.
    """
    digest = hashlib.sha256(FINGERPRINT_HEADER)
    for part in (train, validation):
        digest.update(np.array(part.images.shape, dtype="<i8").tobytes())
        digest.update(np.ascontiguousarray(part.images).reshape(-1).data)
        digest.update(np.ascontiguousarray(part.labels, dtype="<i8").data)
    return digest.hexdigest()
