"""The `models` section: the paper's three networks, and your own."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, assert_never

from pydantic import AfterValidator, Field, Strict

from tmrepro.spec.factories import Arguments, Factory
from tmrepro.spec.fields import Name, PositiveNumber, Section, chosen, contradiction, stated
from tmrepro.spec.training import TrainingSpec

MAX_LAYERS = 64

Initialization = Literal["he", "glorot", "torch"]
_INIT_REASON = "the paper names none; He's keeps the scale of activations in ReLU layers; Keras's default is glorot"
_NAME_REASON = "names the folder and the row of the figure"
_OVERRIDE_REASON = "the paper trains all networks in the same way; another network may need other settings"


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise contradiction(f"must be odd, because the padding is half of it (got {kernel})", at=())
    return kernel


class DnnModel(Section):
    """Fully connected layers, with ReLU after each but the last."""

    name: Annotated[Name, chosen(_NAME_REASON)]
    """Unique name of the model."""
    kind: Annotated[Literal["dnn"], stated("3.1")]
    """Fully connected."""
    widths: Annotated[
        tuple[Annotated[int, Field(ge=1, le=2**20)], ...],
        Strict(strict=False),
        Field(min_length=1, max_length=MAX_LAYERS),
        stated("3.1"),
    ] = (128, 64, 32, 16, 10)
    """Nodes of each layer; the last has one per class."""
    init: Annotated[Initialization, chosen(_INIT_REASON)] = "he"
    """Initial weights."""
    training: Annotated[TrainingSpec, chosen(_OVERRIDE_REASON)] = TrainingSpec()
    """Settings of this model that differ from the section `training`; an optimizer is replaced as a whole."""


class CnnModel(Section):
    """Convolutions, with ReLU after each but the last, then the global average of each channel."""

    name: Annotated[Name, chosen(_NAME_REASON)]
    """Unique name of the model."""
    kind: Annotated[Literal["cnn"], stated("3.1")]
    """Convolutional."""
    channels: Annotated[
        tuple[Annotated[int, Field(ge=1, le=2**16)], ...],
        Strict(strict=False),
        Field(min_length=1, max_length=MAX_LAYERS),
        stated("3.1"),
    ] = (128, 64, 32, 16, 10)
    """Channels of each convolution; the last has one per class."""
    kernel: Annotated[int, Field(ge=1, le=31), AfterValidator(_odd), stated("3.1")] = 3
    """Height and width of each kernel, odd: the padding is half of it."""
    stride: Annotated[
        int,
        Field(ge=1, le=16),
        chosen("the paper does not say how 10 channels become 10 logits; five halvings reduce 32 pixels to one"),
    ] = 2
    """Stride of each convolution."""
    init: Annotated[Initialization, chosen(_INIT_REASON)] = "he"
    """Initial weights."""
    training: Annotated[TrainingSpec, chosen(_OVERRIDE_REASON)] = TrainingSpec()
    """Settings of this model that differ from the section `training`; an optimizer is replaced as a whole."""


class BatchNormSpec(Section):
    """Batch norm's constants, in torch's convention."""

    momentum: Annotated[
        float,
        Field(gt=0, le=1),
        chosen("torch's default; momentum 0.99 in Keras is 0.01 here"),
    ] = 0.1
    """Weight of the newest batch in the running statistics."""
    eps: Annotated[PositiveNumber, chosen("torch's default; Keras's ResNet50 has 1.001e-5")] = 1e-5
    """Added to the variance."""


class Resnet50Model(Section):
    """ResNet50: a stem, stages of 3, 4, 6, 3 residual blocks of three convolutions, pooling, one connected layer."""

    name: Annotated[Name, chosen(_NAME_REASON)]
    """Unique name of the model."""
    kind: Annotated[Literal["resnet50"], stated("3.1")]
    """ResNet50."""
    batch_norm: Annotated[BatchNormSpec, chosen("the paper gives no constants")] = BatchNormSpec()
    """Batch norm's constants."""
    init: Annotated[Initialization, chosen(_INIT_REASON)] = "he"
    """Initial weights."""
    training: Annotated[TrainingSpec, chosen(_OVERRIDE_REASON)] = TrainingSpec()
    """Settings of this model that differ from the section `training`; an optimizer is replaced as a whole."""


class CustomModel(Section):
    """Your own network: any function that returns a torch module whose outputs are logits [n, classes]."""

    name: Annotated[Name, chosen(_NAME_REASON)]
    """Unique name of the model."""
    kind: Annotated[Literal["custom"], chosen("the paper has three networks; a claim about networks needs more")]
    """Your own network."""
    factory: Annotated[Factory, chosen("a dotted path is all that is needed to find a function")]
    """The function: package.module:function."""
    arguments: Annotated[Arguments, chosen("keyword arguments are part of what is computed, so they are hashed")] = (
        Field(default_factory=dict[str, Any])
    )
    """Its keyword arguments, JSON-like. A number without a fraction is passed as an int, even if it is written as 1.0."""
    init: Annotated[Initialization, chosen("your function sets its own weights, and torch keeps them")] = "torch"
    """Initial weights."""
    training: Annotated[TrainingSpec, chosen(_OVERRIDE_REASON)] = TrainingSpec()
    """Settings of this model that differ from the section `training`; an optimizer is replaced as a whole."""


def parameter_count(model: DnnModel | CnnModel | Resnet50Model | CustomModel, *, size: int, classes: int) -> int | None:
    """Return the number of parameters of the network, before it is built; None for a custom one."""
    match model:
        case DnnModel():
            return sum(before * after + after for before, after in pairwise((3 * size * size, *model.widths)))
        case CnnModel():
            layers = pairwise((3, *model.channels))
            return sum(before * after * model.kernel**2 + after for before, after in layers)
        case Resnet50Model():
            return 23_508_032 + 2049 * classes
        case CustomModel():
            return None
        case _:
            assert_never(model)


ModelSpec = Annotated[DnnModel | CnnModel | Resnet50Model | CustomModel, Field(discriminator="kind")]
