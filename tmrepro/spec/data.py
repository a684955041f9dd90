"""The `data` section: which pictures, how many, at what size; or arrays of one's own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from tmrepro.spec.factories import Arguments, Factory
from tmrepro.spec.fields import Section, Seed, chosen, contradiction, stated

CIFAR10_SIZE = 32
DIGITS_IMAGES = 1797
CLASSES = {"cifar10": 10, "digits": 10}
DEFAULT_COUNTS: dict[str, tuple[int | None, int | None]] = {
    "cifar10": (50_000, 10_000),
    "images": (None, None),
    "digits": (1024, 256),
}

_NAME_REASON = (
    "the paper's is cifar10 (section 3.1); digits need no download, a folder holds any other pictures, arrays any data"
)


def _path(path: str) -> str:
    if "\0" in path:
        raise contradiction("holds a NUL character, which no path has", at=())
    return path


Count = Annotated[int, Field(ge=1, le=10_000_000)]
DataPath = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_path)]


class DataSpec(Section):
    """The pictures that the networks learn and are judged on."""

    name: Annotated[Literal["cifar10", "images", "digits"], chosen(_NAME_REASON)]
    """cifar10 (the paper's), images (a folder of train/CLASS/* and test/CLASS/*), digits (comes with scikit-learn)."""
    folder: Annotated[
        DataPath | None, chosen("so that --data-dir need not be repeated; that and TMREPRO_DATA come first")
    ] = None
    """Where cifar10 or images are, relative to the spec file. Part of the spec's hash, but of no stage: the pixels count."""
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

    @model_validator(mode="after")
    def _digits_need_no_folder(self) -> DataSpec:
        if self.name == "digits" and self.folder is not None:
            raise contradiction("digits come with scikit-learn; leave it out", at=("folder",))
        return self


class _OwnData(Section):
    """Data that are used completely, in their own order, without scaling."""

    @property
    def train(self) -> None:
        """The spec doesn't say how many there are."""

    @property
    def scaling(self) -> None:
        """There is none."""


class ArraysSpec(_OwnData):
    """Arrays of your own in a file. Any shape; integers as targets are classes, floating point numbers are numbers."""

    name: Annotated[Literal["arrays"], chosen(_NAME_REASON)]
    """arrays: a file of four arrays."""
    file: Annotated[DataPath, chosen("NumPy's format holds any array, and no code")]
    """A .npz file of train_inputs, train_targets, validation_inputs, validation_targets; relative to the spec file."""


class CustomDataSpec(_OwnData):
    """Arrays of your own from a function. Any shape; integers as targets are classes, floating point numbers are numbers."""

    name: Annotated[Literal["custom"], chosen(_NAME_REASON)]
    """custom: a function that gives four arrays."""
    factory: Annotated[Factory, chosen("a dotted path is all that is needed to find a function")]
    """Where the function is: package.module:function. It returns a mapping, or four in this order, of tensors or arrays:
    train_inputs, train_targets, validation_inputs, validation_targets. The same ones every time."""
    arguments: Annotated[Arguments, chosen("keyword arguments are part of what is computed, so they are hashed")] = (
        Field(default_factory=dict[str, Any])
    )
    """Its keyword arguments, JSON-like. A number without a fraction arrives as an int, however it was written."""


AnyDataSpec = Annotated[DataSpec | ArraysSpec | CustomDataSpec, Field(discriminator="name")]
