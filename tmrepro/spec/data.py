"""The `data` section: which pictures, how many, at what size; or the user's own data."""

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
    "the paper's is cifar10 (section 3.1); digits need no download; images, arrays and custom are for your own data"
)


def _path(path: str) -> str:
    if "\0" in path:
        raise contradiction("has a NUL character, which is invalid in a path", at=())
    return path


Count = Annotated[int, Field(ge=1, le=10_000_000)]
DataPath = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_path)]


class DataSpec(Section):
    """The pictures for the training and the validation of the networks."""

    name: Annotated[Literal["cifar10", "images", "digits"], chosen(_NAME_REASON)]
    """cifar10 (the paper's), images (a folder of train/CLASS/* and test/CLASS/*), digits (comes with scikit-learn)."""
    folder: Annotated[
        DataPath | None, chosen("--data-dir need not be repeated; it and TMREPRO_DATA take precedence")
    ] = None
    """Folder of cifar10 or images, relative to the spec file. It is in the spec's hash; stage keys depend only on the pixels."""
    train: Annotated[Count | None, stated("3.1")] = None
    """Number of training images, stratified by class. null: 50000 of CIFAR-10, 1024 digits, or all of the folder's train part."""
    validation: Annotated[Count | None, stated("3.1")] = None
    """Number of held-out images, stratified by class. null: 10000 of CIFAR-10, 256 digits, or all of the folder's test part."""
    size: Annotated[int, Field(ge=8, le=1024), stated("3.1")] = CIFAR10_SIZE
    """Height and width in pixels, to which images and digits are resized; CIFAR-10 has 32."""
    scaling: Annotated[
        Literal["standardize", "unit"],
        chosen("the paper names no scaling; with mean 0 and deviation 1, Adam at 0.01 trains all three networks"),
    ] = "standardize"
    """standardize: to mean 0 and deviation 1 per channel, over the training part; unit: to [0, 1]."""
    seed: Annotated[Seed, chosen("any fixed number; it only draws the subset")] = 0
    """Seed that draws the images."""

    @model_validator(mode="after")
    def _digits_need_no_folder(self) -> DataSpec:
        if self.name == "digits" and self.folder is not None:
            raise contradiction("digits come with scikit-learn; leave it out", at=("folder",))
        return self


class _OwnData(Section):
    """Data that are used completely, in their own order, without scaling."""

    @property
    def train(self) -> None:
        """None: the spec does not say how many there are."""

    @property
    def scaling(self) -> None:
        """None: the data are not scaled."""


class ArraysSpec(_OwnData):
    """Your own arrays in a file, of any shape. Integer targets are classes; floating point targets are numbers."""

    name: Annotated[Literal["arrays"], chosen(_NAME_REASON)]
    """arrays: a file of four arrays."""
    file: Annotated[DataPath, chosen("NumPy's format can hold any array, and no code")]
    """A .npz file of train_inputs, train_targets, validation_inputs, validation_targets; relative to the spec file."""


class CustomDataSpec(_OwnData):
    """Your own arrays from a function, of any shape. Integer targets are classes; floating point targets are numbers."""

    name: Annotated[Literal["custom"], chosen(_NAME_REASON)]
    """custom: a function that returns four arrays."""
    factory: Annotated[Factory, chosen("a dotted path is enough to find a function")]
    """The function: package.module:function. It returns tensors or arrays, as a mapping or in this order: train_inputs,
    train_targets, validation_inputs, validation_targets. They must be the same at every call."""
    arguments: Annotated[Arguments, chosen("keyword arguments are part of what is computed, so they are hashed")] = (
        Field(default_factory=dict[str, Any])
    )
    """Its keyword arguments, JSON-like. A number without a fraction is passed as an int, even if it is written as 1.0."""


AnyDataSpec = Annotated[DataSpec | ArraysSpec | CustomDataSpec, Field(discriminator="name")]
