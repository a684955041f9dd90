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
    """Repetitions of the spec with other seeds."""

    training: Annotated[int, Field(ge=1, le=1000), chosen("the paper shows one training of each network")] = 1
    """Trainings per model; replicate r trains with seed + r."""
    directions: Annotated[int, Field(ge=1, le=1000), chosen("the paper shows one pair of directions")] = 1
    """Pairs of directions per surface; replicate q adds 1000 q to both seeds."""


class ComputeSpec(Section):
    """How reproducible the results are."""

    determinism: Annotated[
        Literal["portable", "machine", "fast"], chosen("so that another machine can confirm every byte")
    ] = "portable"
    """portable: bitwise identical on any x86-64 CPU with AVX2; machine: on this machine; fast: equal within a tolerance."""
    threads: Annotated[
        int, Field(ge=1, le=256), chosen("the number of threads changes rounding, so it is fixed; two cores are common")
    ] = 2
    """CPU threads per process, on every machine."""


class FiguresSpec(Section):
    """How the surfaces are drawn."""

    scale: Annotated[
        Literal["auto", "linear", "log"],
        chosen("the paper does not say log, but a linear scale hides what is 100 times smaller than the largest loss"),
    ] = "auto"
    """Colour and height: the loss, or its logarithm; auto: log if a figure's largest loss is over 100 times its least."""


class Spec(Section):
    """A whole spec. `load_spec` and `parse_spec` return the resolved form: every default written out."""

    version: Annotated[
        int,
        AfterValidator(_known_version),
        chosen("to distinguish later formats from this one", const=VERSION),
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
    """How the networks are trained."""
    minimum: Annotated[MinimumSpec, stated("2")] = MinimumSpec()
    """How the training set is relabelled."""
    replicates: Annotated[ReplicatesSpec, chosen("claims are judged on several draws, not on one lucky draw")] = (
        ReplicatesSpec()
    )
    """Repetitions of the spec with other seeds."""
    surfaces: Annotated[
        tuple[SurfaceSpec, ...], Strict(strict=False), Field(min_length=1, max_length=MAX_ITEMS), stated("2")
    ] = (SurfaceSpec(name="paper"),)
    """The loss surfaces."""
    compute: Annotated[ComputeSpec, chosen("others must be able to check a result")] = ComputeSpec()
    """How reproducible the results are."""
    figures: Annotated[FiguresSpec, stated("3.1")] = FiguresSpec()
    """How the surfaces are drawn."""
