"""Which loss fits which data and settings, as far as the spec shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tmrepro.spec.data import AnyDataSpec, DataSpec
from tmrepro.spec.fields import Location
from tmrepro.spec.networks import ModelSpec
from tmrepro.spec.resolve import merge_training
from tmrepro.spec.training import TrainingSpec


def find_loss_problems(
    data: AnyDataSpec | None, training: TrainingSpec, models: Sequence[ModelSpec | None], *, labels: str
) -> Iterator[tuple[Location, str]]:
    """Yield the errors of `training.loss`, in the section and in the models that have their own, each once."""
    merged = [None if model is None else merge_training(model.training, over=training) for model in models]
    told = set[Location]()
    for index, (model, own) in enumerate(zip(models, merged, strict=True)):
        if model is None or own is None:
            continue
        for field, message in _problems(data, own, first=next(one for one in merged if one is not None), labels=labels):
            at: Location = ("minimum", "labels") if field == "labels" else ("training", field)
            if field in model.training.model_fields_set:
                at = ("models", index, *at)
            if at not in told:
                told.add(at)
                yield at, message


def _problems(
    data: AnyDataSpec | None, training: TrainingSpec, *, first: TrainingSpec, labels: str
) -> Iterator[tuple[str, str]]:
    if training.loss != first.loss:
        yield "loss", f"must be that of the other models, {first.loss}: targets are classes or numbers, not both"
        return
    if training.loss != "mse":
        return
    if isinstance(data, DataSpec):
        yield "loss", f"must be sparse_cross_entropy: the targets of {data.name} are classes, and mse takes numbers"
    if training.clip_probability is not None:
        yield "clip_probability", "must be null with mse, whose outputs are not probabilities"
    if labels == "soft":
        yield "labels", "is for classes; with mse Algorithm 1 relabels with the outputs, so leave it out"
