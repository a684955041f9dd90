"""The whole spec as one frozen value."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict

from tmrepro.spec.data import AnyDataSpec
from tmrepro.spec.fields import Name, Section, chosen, contradiction, stated
from tmrepro.spec.networks import CnnModel, DnnModel, ModelSpec, Resnet50Model
from tmrepro.spec.surfaces import SurfaceSpec
from tmrepro.spec.training import TrainingSpec

VERSION = 1
MAX_ITEMS = 100


def _known_version(version: int) -> int:
    if version != VERSION:
        raise contradiction(f"must be {VERSION}, the only version of the format so far (got {version})", at=())
    return version


class MinimumSpec(Section):
    """Algorithm 1."""

    labels: Annotated[
        Literal["hard", "soft"], chosen("the paper's loss, sparse cross entropy, takes classes, not distributions")
    ] = "hard"
    """hard: the class of the largest output (ties: the lowest); soft: the output distribution."""


class ReplicatesSpec(Section):
    """How often everything is repeated with other seeds."""

    training: Annotated[int, Field(ge=1, le=1000), chosen("the paper shows one training of each network")] = 1
    """Trainings per model; replicate r trains with seed + r."""
    directions: Annotated[int, Field(ge=1, le=1000), chosen("the paper shows one pair of directions")] = 1
    """Pairs of directions per surface; replicate q adds 1000 q to both seeds."""


class ComputeSpec(Section):
    """How reproducible the bytes are."""

    determinism: Annotated[
        Literal["portable", "machine", "fast"], chosen("so that another machine can confirm every byte")
    ] = "portable"
    """portable: same bytes on any x86-64 CPU with AVX2; machine: on this one; fast: same numbers within tolerance."""
    threads: Annotated[
        int, Field(ge=1, le=256), chosen("the number of threads changes rounding, so it is fixed; two cores are common")
    ] = 2
    """CPU threads per process, whatever the machine has."""


class FiguresSpec(Section):
    """How the surfaces are drawn."""

    scale: Annotated[
        Literal["auto", "linear", "log"],
        chosen(
            "the paper does not say log, but a linear scale hides all that is small beside a loss 100 times as large"
        ),
    ] = "auto"
    """Colour and height: the loss, or its logarithm; auto: log where a figure's largest loss is over 100 times its least."""


class Spec(Section):
    """What is computed, all of it. `load_spec` and `parse_spec` give the resolved form: every default written out."""

    version: Annotated[
        int,
        AfterValidator(_known_version),
        chosen("so that a later format can tell itself from this one", const=VERSION),
    ]
    """Version of the format: 1."""
    name: Annotated[Name, chosen("names the run folder and the reference")]
    """Name of the spec."""
    data: Annotated[AnyDataSpec, stated("3.1")]
    """The pictures, or other data."""
    models: Annotated[
        tuple[ModelSpec, ...], Strict(strict=False), Field(min_length=1, max_length=MAX_ITEMS), stated("3.1")
    ] = (
        DnnModel(name="dnn", kind="dnn"),
        CnnModel(name="cnn", kind="cnn"),
        Resnet50Model(name="resnet50", kind="resnet50"),
    )
    """The networks, in the order of the figure's rows."""
    training: Annotated[TrainingSpec, stated("3.1")] = TrainingSpec()
    """How they are trained."""
    minimum: Annotated[MinimumSpec, stated("2")] = MinimumSpec()
    """How the training set is relabelled."""
    replicates: Annotated[ReplicatesSpec, chosen("claims are judged over several draws, not over one lucky one")] = (
        ReplicatesSpec()
    )
    """How often everything is repeated with other seeds."""
    surfaces: Annotated[
        tuple[SurfaceSpec, ...], Strict(strict=False), Field(min_length=1, max_length=MAX_ITEMS), stated("2")
    ] = (SurfaceSpec(name="paper"),)
    """The loss surfaces."""
    compute: Annotated[ComputeSpec, chosen("a result that cannot be checked is worth little")] = ComputeSpec()
    """How reproducible the bytes are."""
    figures: Annotated[FiguresSpec, stated("3.1")] = FiguresSpec()
    """How the surfaces are drawn."""
