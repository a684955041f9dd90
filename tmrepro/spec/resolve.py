"""The resolved form of a spec, with every default written out, and its replicates.

The rules for defaults use the spec alone. So the same file has the same resolved form everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tmrepro.spec.data import DEFAULT_COUNTS, AnyDataSpec, DataSpec
from tmrepro.spec.model import Spec
from tmrepro.spec.networks import ModelSpec
from tmrepro.spec.surfaces import SurfaceSpec
from tmrepro.spec.training import TrainingSpec

DIRECTION_SEED_STRIDE = 1000


@dataclass(frozen=True)
class TrainedModel:
    """One training. `base` is the name of the model in the spec, `seed` is the seed of this replicate."""

    name: str
    base: str
    replicate: int
    spec: ModelSpec
    seed: int


@dataclass(frozen=True)
class DrawnSurface:
    """One surface with one pair of directions: `seeds` are those of delta and eta.

    `models` are the names of the trained models, each replicate separately, in order.
    """

    name: str
    base: str
    replicate: int
    spec: SurfaceSpec
    seeds: tuple[int, int]
    models: tuple[str, ...]


def resolve(spec: Spec) -> Spec:
    """Return `spec` with every default written out. Resolving twice changes nothing."""
    resolved = spec.model_copy(
        update={
            "data": resolve_data(spec.data),
            "models": tuple(
                model.model_copy(update={"training": merge_training(model.training, over=spec.training)})
                for model in spec.models
            ),
            "surfaces": tuple(resolve_surface(surface, models=spec.models) for surface in spec.surfaces),
        }
    )
    return Spec.model_validate(resolved.model_dump())  # again, so that every field counts as written


def resolve_data(data: AnyDataSpec) -> AnyDataSpec:
    """Return `data` with the default numbers of images of its set. For a folder they are null: all its images."""
    if not isinstance(data, DataSpec):
        return data
    train, validation = DEFAULT_COUNTS[data.name]
    return data.model_copy(
        update={
            "train": train if data.train is None else data.train,
            "validation": validation if data.validation is None else data.validation,
        }
    )


def merge_training(own: TrainingSpec, *, over: TrainingSpec) -> TrainingSpec:
    """Return the section `over` with the keys written in `own`: `stop` key by key, an optimizer as a whole."""
    written = {field: getattr(own, field) for field in own.model_fields_set}
    if "stop" in written:
        written["stop"] = over.stop.model_copy(
            update={field: getattr(own.stop, field) for field in own.stop.model_fields_set}
        )
    return over.model_copy(update=written)


def resolve_surface(surface: SurfaceSpec, *, models: tuple[ModelSpec, ...]) -> SurfaceSpec:
    """Return `surface` with the names of its models, and a chunk no larger than the grid."""
    names = surface.models or default_models(surface, models)
    return surface.model_copy(update={"models": names, "chunk": min(surface.chunk, surface.grid.K)})


def default_models(surface: SurfaceSpec, models: tuple[ModelSpec, ...]) -> tuple[str, ...]:
    """Return all models; for a plane between minima, the same network as the first of `between`, without the two."""
    between = surface.directions.between
    if between is None:
        return tuple(model.name for model in models)
    first = next((model for model in models if model.name == base_name(between[0])), None)
    same = (model for model in models if first is not None and is_same_network(model, first))
    return tuple(model.name for model in same if model.name not in between)


def is_same_network(one: ModelSpec, other: ModelSpec) -> bool:
    """Return whether two models have the same parameters, name by name and shape by shape."""
    return _network(one) == _network(other)


def _network(model: ModelSpec) -> dict[str, Any]:
    return model.model_dump(exclude={"name", "training", "init"})


def base_name(trained: str) -> str:
    """Return the name in the spec of a model, or of a replicate of one: cnn for cnn.r1."""
    return trained.partition(".")[0]


def expand_models(spec: Spec) -> tuple[TrainedModel, ...]:
    """Return all trainings of a resolved spec: NAME, NAME.r1, NAME.r2, ... of each model. Replicate r trains with seed + r."""
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
    """Return all surfaces of a resolved spec: NAME, NAME.d1, ... of each. Replicate q adds 1000 q to both seeds."""
    return tuple(_draws(spec))


def surfaces_around(spec: Spec, model: str) -> tuple[str, ...]:
    """Return the names of the surfaces of a resolved spec that are drawn around `model`, in order."""
    return tuple(drawn.name for drawn in expand_surfaces(spec) if model in drawn.models)


def _draws(spec: Spec) -> Iterator[DrawnSurface]:
    trained: dict[str, list[str]] = {}
    for model in expand_models(spec):
        trained.setdefault(model.base, []).append(model.name)
    for surface in spec.surfaces:
        seeds = surface.directions.seeds
        wanted = surface.models or tuple(model.name for model in spec.models)
        # Minima of other seeds are in the plane already. Only random directions depend on a seed.
        between, seeded = surface.directions.kind == "between", surface.directions.kind == "random"
        models = tuple(name for base in wanted for name in (trained[base][:1] if between else trained[base]))
        for replicate in range(spec.replicates.directions if seeded else 1):
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
