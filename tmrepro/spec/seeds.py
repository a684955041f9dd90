"""The same spec with other seeds: what a replicate is."""

from __future__ import annotations

from tmrepro.spec.model import Spec
from tmrepro.spec.resolve import DIRECTION_SEED_STRIDE


def with_seeds(spec: Spec, *, replicate: int) -> Spec:
    """`spec` with `replicate` added to every training seed and 1000 times as much to both seeds of each surface.

    These are the seeds of the replicates that `replicates` in a spec asks for; 0 gives the spec itself.
    """
    models = tuple(
        model.model_copy(
            update={"training": model.training.model_copy(update={"seed": model.training.seed + replicate})}
        )
        for model in spec.models
    )
    surfaces = []
    for surface in spec.surfaces:
        old = surface.directions.seeds
        seeds = old.model_copy(
            update={
                "delta": old.delta + DIRECTION_SEED_STRIDE * replicate,
                "eta": old.eta + DIRECTION_SEED_STRIDE * replicate,
            }
        )
        directions = surface.directions.model_copy(update={"seeds": seeds})
        surfaces.append(surface.model_copy(update={"directions": directions}))
    training = spec.training.model_copy(update={"seed": spec.training.seed + replicate})
    return spec.model_copy(update={"models": models, "surfaces": tuple(surfaces), "training": training})
