"""Checks that the spec fits the data. They need the data, run before training, and name the invalid field."""

from __future__ import annotations

import math

from tmrepro.data import Dataset
from tmrepro.errors import FieldError
from tmrepro.spec import CustomModel, Resnet50Model, Spec
from tmrepro.store.tensors import LABELS_LIMIT_BYTES


def require_fitting(spec: Spec, dataset: Dataset) -> None:
    """Raise FieldError unless losses, networks and surfaces fit the data."""
    _check_losses(spec, dataset)
    _check_networks(spec, dataset)
    examples = len(dataset.train.images)
    for index, surface in enumerate(spec.surfaces):
        if surface.samples is not None and surface.samples > examples:
            raise FieldError(
                ("surfaces", index, "samples"),
                f"must be at most {examples}, the number of examples (got {surface.samples})",
            )


def _check_losses(spec: Spec, dataset: Dataset) -> None:
    wanted = "sparse_cross_entropy" if dataset.classes else "mse"
    for model in spec.models:
        if model.training.loss != wanted:
            kind = f"classes ({len(dataset.classes)} of them)" if dataset.classes else "numbers"
            raise FieldError(
                ("training", "loss"),
                f"must be {wanted} (got {model.training.loss}): the targets are {kind}; integers are classes, floating point "
                "numbers are numbers",
            )
    if (
        not dataset.classes
        and 4 * len(dataset.train.images) * math.prod(dataset.signature.outputs) > LABELS_LIMIT_BYTES
    ):
        raise FieldError(
            ("training", "loss"),
            f"mse keeps an output for each number of train_targets, {list(dataset.train.labels.shape)}; "
            f"expected at most {LABELS_LIMIT_BYTES} bytes",
        )


def _check_networks(spec: Spec, dataset: Dataset) -> None:
    """Raise FieldError if a network of the paper gets no pictures, or batch norm gets a batch of one."""
    signature, examples = dataset.signature, len(dataset.train.images)
    for index, model in enumerate(spec.models):
        if isinstance(model, CustomModel):
            continue
        if signature.side is None or len(signature.outputs) != 1:
            raise FieldError(
                ("models", index, "kind"),
                f"{model.kind} takes pictures, float [3, size, size], and gives one row of outputs; the data have inputs "
                f"{signature.dtype} {list(signature.shape)} and outputs {list(signature.outputs)}: give a model of kind custom",
            )
        if isinstance(model, Resnet50Model) and examples % model.training.batch_size == 1:
            raise FieldError(
                ("training", "batch_size"),
                f"leaves a batch of one of {examples} examples, on which batch norm of {model.name!r} cannot train",
            )
