"""Replicates: a spec with other seeds, and whether two specs are replicates of each other."""

from __future__ import annotations

from collections.abc import Callable

from tmrepro.errors import UsageError
from tmrepro.spec.canonical import SpecDifference, first_difference
from tmrepro.spec.fields import LARGEST_INTEGER
from tmrepro.spec.model import Spec
from tmrepro.spec.resolve import DIRECTION_SEED_STRIDE
from tmrepro.spec.surfaces import SurfaceSpec
from tmrepro.spec.training import TrainingSpec


def with_seeds(spec: Spec, *, replicate: int) -> Spec:
    """Return `spec` with `replicate` added to every training seed and 1000 times as much to both seeds of each surface.

    These are the seeds of the replicates that `replicates` in a spec asks for; 0 gives the spec itself. The data
    have their own seed, which is unchanged.

    Raises:
        UsageError: a seed would be larger than a spec can hold.
    """
    return _seeded(
        spec,
        training=lambda seed: seed + replicate,
        direction=lambda seed, _: seed + DIRECTION_SEED_STRIDE * replicate,
    )


def first_difference_beyond_seeds(ours: Spec, theirs: Spec) -> SpecDifference | None:
    """Return the first field in which two resolved specs differ more than replicates may; None if there is none.

    Replicates differ in training and direction seeds, and may have other names. They must have the same data seed:
    replicates do not measure the effect of other pictures.
    """
    ours, theirs = (_seeded(spec, training=lambda _: 0, direction=lambda _, axis: axis) for spec in (ours, theirs))
    return first_difference(ours.model_copy(update={"name": theirs.name}), theirs)


def _seeded(spec: Spec, *, training: Callable[[int], int], direction: Callable[[int, int], int]) -> Spec:
    """Return `spec` with every seed replaced: `training` of a training's, `direction` of a direction's and its axis."""

    def trained(section: TrainingSpec) -> TrainingSpec:
        return section.model_copy(update={"seed": _valid(training(section.seed))})

    def drawn(surface: SurfaceSpec) -> SurfaceSpec:
        old = surface.directions.seeds
        new = {"delta": _valid(direction(old.delta, 0)), "eta": _valid(direction(old.eta, 1))}
        directions = surface.directions.model_copy(update={"seeds": old.model_copy(update=new)})
        return surface.model_copy(update={"directions": directions})

    models = tuple(model.model_copy(update={"training": trained(model.training)}) for model in spec.models)
    surfaces = tuple(drawn(surface) for surface in spec.surfaces)
    return spec.model_copy(update={"models": models, "surfaces": surfaces, "training": trained(spec.training)})


def _valid(seed: int) -> int:
    if seed > LARGEST_INTEGER:
        raise UsageError(f"a replicate would have the seed {seed}, more than {LARGEST_INTEGER}: lower the spec's seeds")
    return seed
