"""The `data` section: which pictures, how many, at what size."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tmrepro.spec.fields import Section, Seed, chosen, stated

CIFAR10_SIZE = 32
DIGITS_IMAGES = 1797
CLASSES = {"cifar10": 10, "digits": 10}
DEFAULT_COUNTS: dict[str, tuple[int | None, int | None]] = {
    "cifar10": (50_000, 10_000),
    "images": (None, None),
    "digits": (1024, 256),
}

Count = Annotated[int, Field(ge=1, le=10_000_000)]


class DataSpec(Section):
    """The pictures that the networks learn and are judged on."""

    name: Annotated[
        Literal["cifar10", "images", "digits"],
        chosen("the paper's is cifar10 (section 3.1); digits need no download, a folder holds any other set"),
    ]
    """cifar10 (the paper's), images (a folder of train/CLASS/* and test/CLASS/*), digits (comes with scikit-learn)."""
    train: Annotated[Count | None, stated("3.1")] = None
    """Training images, drawn stratified. null: 50000 of CIFAR-10, 1024 digits, or all of the folder's train part."""
    validation: Annotated[Count | None, stated("3.1")] = None
    """Held-out images, drawn stratified. null: 10000 of CIFAR-10, 256 digits, or all of the folder's test part."""
    size: Annotated[int, Field(ge=8, le=1024), stated("3.1")] = CIFAR10_SIZE
    """Height and width in pixels to which images and digits are brought; CIFAR-10 is 32."""
    scaling: Annotated[
        Literal["standardize", "unit"],
        chosen(
            "the paper names no scaling; inputs of mean 0 and deviation 1 let Adam at 0.01 train all three networks"
        ),
    ] = "standardize"
    """standardize: per channel by the training part's mean and deviation; unit: to [0, 1]."""
    seed: Annotated[Seed, chosen("any fixed number: it only draws the subset")] = 0
    """Seed of the drawing of images."""
