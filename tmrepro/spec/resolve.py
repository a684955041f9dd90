"""The resolved form, every default written out, and what replicates make of it.

A default that depends on something follows a rule on the spec alone: the same file resolves the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tmrepro.spec.data import DEFAULT_COUNTS, DataSpec
from tmrepro.spec.model import Spec
from tmrepro.spec.networks import ModelSpec
from tmrepro.spec.surfaces import SurfaceSpec
from tmrepro.spec.training import TrainingSpec

DIRECTION_SEED_STRIDE = 1000


@dataclass(frozen=True)
class TrainedModel:
    """One training to be done. `base` is the spec's name of the model, `seed` the one this replicate trains with."""

    name: str
    base: str
    replicate: int
    spec: ModelSpec
    seed: int


@dataclass(frozen=True)
class DrawnSurface:
    """One surface to be evaluated with one pair of directions: `seeds` are those of delta and eta.

    `models` are names of trained models (replicates apart), in order.
    """

    name: str
    base: str
    replicate: int
    spec: SurfaceSpec
    seeds: tuple[int, int]
    models: tuple[str, ...]


def resolve(spec: Spec) -> Spec:
    """`spec` with every default written out. Resolving twice changes nothing."""
    names = tuple(model.name for model in spec.models)
    resolved = spec.model_copy(
        update={
            "data": resolve_data(spec.data),
            "models": tuple(
                model.model_copy(update={"training": merge_training(model.training, over=spec.training)})
                for model in spec.models
            ),
            "surfaces": tuple(resolve_surface(surface, models=names) for surface in spec.surfaces),
        }
    )
    return Spec.model_validate(resolved.model_dump())  # anew, so that every field counts as written


def resolve_data(data: DataSpec) -> DataSpec:
    """`data` with the numbers of images that its set gives by default; a folder has as many as it has: null."""
    train, validation = DEFAULT_COUNTS[data.name]
    return data.model_copy(
        update={
            "train": train if data.train is None else data.train,
            "validation": validation if data.validation is None else data.validation,
        }
    )


def merge_training(own: TrainingSpec, *, over: TrainingSpec) -> TrainingSpec:
    """The keys written in `own`, over the section `over`: `stop` key by key, an optimizer whole."""
    written = {field: getattr(own, field) for field in own.model_fields_set}
    if "stop" in written:
        written["stop"] = over.stop.model_copy(
            update={field: getattr(own.stop, field) for field in own.stop.model_fields_set}
        )
    return over.model_copy(update=written)


def resolve_surface(surface: SurfaceSpec, *, models: tuple[str, ...]) -> SurfaceSpec:
    """`surface` with the names of its models, and a chunk no larger than the grid."""
    return surface.model_copy(update={"models": surface.models or models, "chunk": min(surface.chunk, surface.grid.K)})


def expand_models(spec: Spec) -> tuple[TrainedModel, ...]:
    """All trainings of a resolved spec: NAME, NAME.r1, NAME.r2, ... of each model. Replicate r trains with seed + r."""
    return tuple(
        TrainedModel(
            name=_replicate_name(model.name, "r", replicate),
            base=model.name,
            replicate=replicate,
            spec=model,
            seed=model.training.seed + replicate,
        )
        for model in spec.models
        for replicate in range(spec.replicates.training)
    )


def expand_surfaces(spec: Spec) -> tuple[DrawnSurface, ...]:
    """All surfaces of a resolved spec: NAME, NAME.d1, ... of each. Replicate q adds 1000 q to both seeds."""
    return tuple(_draws(spec))


def _draws(spec: Spec) -> Iterator[DrawnSurface]:
    trained: dict[str, list[str]] = {}
    for model in expand_models(spec):
        trained.setdefault(model.base, []).append(model.name)
    for surface in spec.surfaces:
        seeds = surface.directions.seeds
        wanted = surface.models or tuple(model.name for model in spec.models)
        models = tuple(name for base in wanted for name in trained[base])
        for replicate in range(spec.replicates.directions):
            offset = DIRECTION_SEED_STRIDE * replicate
            yield DrawnSurface(
                name=_replicate_name(surface.name, "d", replicate),
                base=surface.name,
                replicate=replicate,
                spec=surface,
                seeds=(seeds.delta + offset, seeds.eta + offset),
                models=models,
            )


def _replicate_name(base: str, letter: str, replicate: int) -> str:
    return f"{base}.{letter}{replicate}" if replicate else base
