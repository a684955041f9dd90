"""The `surfaces` section: where around theta* the loss is evaluated, on which data, and how precisely."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, assert_never

from pydantic import Field, Strict, model_validator

from tmrepro.spec.fields import (
    Name,
    PositiveInteger,
    PositiveNumber,
    Section,
    Seed,
    TrainedName,
    chosen,
    contradiction,
    stated,
)
from tmrepro.spec.limits import LARGEST_K


class SeedsSpec(Section):
    """The seeds of the two directions."""

    delta: Annotated[Seed, chosen("any fixed number; the paper gives none")] = 1
    """Seed of delta, the direction of the first axis."""
    eta: Annotated[Seed, chosen("any fixed number, other than delta's")] = 2
    """Seed of eta, the direction of the second axis."""

    @model_validator(mode="after")
    def _differ(self) -> SeedsSpec:
        if self.delta == self.eta:
            raise contradiction(f"must differ from delta, or the plane is a line (both are {self.eta})", at=("eta",))
        return self


DirectionKind = Literal["random", "pca", "hessian", "between"]


class DirectionsSpec(Section):
    """The two directions: random, as in the paper (Algorithm 2), or defined by training, by the Hessian or by other minima."""

    kind: Annotated[DirectionKind, stated("2")] = "random"
    """random: drawn by `seeds`; pca: the two principal components of the path of training (`training.trajectory`); hessian:
    the eigenvectors of the two largest eigenvalues; between: from theta* to the theta* of two other models."""
    between: Annotated[
        Annotated[tuple[TrainedName, TrainedName], Strict(strict=False)] | None,
        chosen("three minima span a plane"),
    ] = None
    """The two other models of kind between; replicates are allowed: [cnn.r1, cnn.r2]."""
    seeds: Annotated[SeedsSpec, chosen("so that everybody gets the same directions")] = SeedsSpec()
    """The seeds of the two directions."""
    normalization: Annotated[Literal["l2", "filter", "layer", "none"], stated("2")] = "l2"
    """l2: norm 1 over the whole vector; filter or layer: the norm of each trained filter or tensor; none: as drawn."""
    moves: Annotated[
        Literal["all", "weights"],
        chosen("Algorithm 2 says the whole weight vector; it does not say whether biases belong to it"),
    ] = "all"
    """What moves: all parameters, or only weights (tensors of two or more dimensions)."""

    def describe(self) -> str:
        """Return the directions in a few words, for the heading of a figure."""
        match self.kind:
            case "random":
                is_drawn = self.normalization == "none"
                return "directions as drawn" if is_drawn else f"{self.normalization}-normalised directions"
            case "pca":
                return "principal components of the path of training"
            case "hessian":
                return "eigenvectors of the two largest eigenvalues of the Hessian"
            case "between":
                return f"towards θ* of {' and '.join(self.between or ())}"
            case _:
                assert_never(self.kind)

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, raw: Any) -> Any:
        """Accept `between: [x, y]` alone, and `kind: {between: [x, y]}`, as `kind: between`."""
        if not isinstance(raw, dict):
            return raw
        kind = raw.get("kind")
        if isinstance(kind, dict) and set(kind) == {"between"} and "between" not in raw:
            return {**raw, "kind": "between", "between": kind["between"]}
        if "kind" not in raw and raw.get("between") is not None:
            return {**raw, "kind": "between"}
        return raw

    @model_validator(mode="after")
    def _fits_its_kind(self) -> DirectionsSpec:
        if (self.kind == "between") != (self.between is not None):
            words = (
                "must name two other models: between: [MODEL, MODEL]"
                if self.between is None
                else "is only for kind: between"
            )
            raise contradiction(f"{words} (kind: {self.kind})", at=("between",))
        if self.between is not None and self.between[0] == self.between[1]:
            raise contradiction(
                f"must be two models, or the plane is a line (both are {self.between[0]})", at=("between",)
            )
        if self.kind != "random" and self.normalization not in {"l2", "none"}:
            raise contradiction(
                f"must be l2 or none for kind: {self.kind}; filter and layer would change the direction "
                f"(got {self.normalization})",
                at=("normalization",),
            )
        if self.kind != "random" and self.moves != "all":
            raise contradiction(
                f"must be all for kind: {self.kind}; without biases, the direction would change (got {self.moves})",
                at=("moves",),
            )
        return self


class GridSpec(Section):
    """The points: K x K, equally spaced."""

    K: Annotated[int, Field(ge=2, le=LARGEST_K), chosen("the paper gives none; 51 shows ripples and has a centre")] = 51
    """Points per axis."""
    origin: Annotated[Literal["corner", "center"], stated("2")] = "corner"
    """Position of theta*. corner: steps are 0 to K-1, as in Algorithm 2; center: -(K-1)/2 to (K-1)/2, K odd."""
    step: Annotated[PositiveNumber, stated("2")] = 1.0
    """Distance between neighbouring points, in `unit`."""
    unit: Annotated[Literal["absolute", "relative"], stated("2")] = "absolute"
    """absolute: the length of the normalised direction; relative: that times the norm of theta*."""

    @model_validator(mode="after")
    def _has_a_middle(self) -> GridSpec:
        if self.origin == "center" and self.K % 2 == 0:
            raise contradiction(
                f"must be odd when the origin is center, so that theta* is a point (got {self.K})", at=("K",)
            )
        if not math.isfinite(self.step * (self.K - 1)):
            raise contradiction(f"step x (K - 1) must be finite (got {self.step} x {self.K - 1})", at=("step",))
        return self


class SurfaceSpec(Section):
    """One loss surface per model."""

    name: Annotated[Name, chosen("names the group in the store and the figure")]
    """Unique name of the surface."""
    models: Annotated[
        Annotated[tuple[Name, ...], Strict(strict=False), Field(min_length=1)] | None,
        chosen("a surface of a large network takes hours, so a spec can leave some out"),
    ] = None
    """Names of the models for which it is evaluated; null: all."""
    labels: Annotated[Literal["relabelled", "original"], stated("2")] = "relabelled"
    """relabelled: the model's own outputs (X~); original: the given labels (X)."""
    directions: Annotated[DirectionsSpec, stated("2")] = DirectionsSpec()
    """The two directions."""
    grid: Annotated[GridSpec, stated("2")] = GridSpec()
    """The points."""
    samples: Annotated[PositiveInteger | None, stated("2")] = None
    """Number of images of the training part for the loss, the first n in data order; null: all."""
    precision: Annotated[
        Literal["float64", "float32", "tf32", "bfloat16"], chosen("networks are trained in float32; float64 checks it")
    ] = "float32"
    """Arithmetic of the evaluation; sums over images are always float64."""
    chunk: Annotated[
        PositiveInteger, chosen("an interruption loses minutes at most (256 points), and there are few files")
    ] = 16
    """Points per axis of a chunk, the unit of work and of resuming; larger than K means K."""
