"""Finds the errors of a spec: in single fields, then between sections.

Sections are checked against each other as far as they are readable. So one run of `tmrepro spec check` finds all errors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tmrepro.spec.data import CIFAR10_SIZE, CLASSES, DEFAULT_COUNTS, DIGITS_IMAGES, AnyDataSpec, DataSpec
from tmrepro.spec.fields import Location
from tmrepro.spec.limits import MOST_CHUNKS
from tmrepro.spec.losses import find_loss_problems
from tmrepro.spec.messages import MAX_PROBLEMS, Problem, did_you_mean, got, keys, problems
from tmrepro.spec.model import MAX_ITEMS, MinimumSpec, ReplicatesSpec, Spec
from tmrepro.spec.networks import CnnModel, DnnModel, ModelSpec, Resnet50Model, parameter_count
from tmrepro.spec.resolve import base_name, default_models, is_same_network, merge_training, resolve_data
from tmrepro.spec.surfaces import SurfaceSpec
from tmrepro.spec.training import TrainingSpec

MAX_PARAMETERS = 2**31  # 8 GiB per copy in float32, and training holds several
# The limits of a run folder, and of provenance.json, which names every file of it. A hundred models with a thousand
# replicates each are a mistake.
MAX_TRAININGS = 1000
MAX_SURFACES = 10_000  # of single networks
MAX_CHUNKS_IN_ALL = 2**18


def find_problems(raw: Any) -> list[Problem]:
    """Return the errors of `raw`, the plain values of a document; empty if the spec is valid.

    The list is cut only if it is longer than a person would read.
    """
    found: list[Problem] = []
    try:
        Spec.model_validate(raw)
    except ValidationError as error:
        found = problems(error)
    readable = _readable(keys(raw))
    checks = (
        _counts, _classes, _parameters, _lone_images, _losses, _samples, _chunks, _names, _paths, _averaging, _between,
        _optimizers, _amount,
    )  # fmt: skip
    return [*found, *islice(chain.from_iterable(check(readable) for check in checks), MAX_PROBLEMS)]


@dataclass(frozen=True)
class _Readable:
    """The sections that are valid by themselves, with their defaults; None for an invalid one.

    Names that are text are kept even if the rest of a model or surface is invalid.
    """

    data: AnyDataSpec | None
    training: TrainingSpec | None
    minimum: MinimumSpec | None
    replicates: ReplicatesSpec | None
    models: tuple[ModelSpec | None, ...]
    surfaces: tuple[SurfaceSpec | None, ...]
    model_names: tuple[str | None, ...]
    surface_names: tuple[str | None, ...]
    surface_models: tuple[tuple[str, ...], ...]

    @property
    def pictures(self) -> DataSpec | None:
        """The section `data` if it describes pictures. Then the spec says how many there are, and their size."""
        return self.data if isinstance(self.data, DataSpec) else None


def _readable(raw: Mapping[str, Any]) -> _Readable:
    data = _valid(AnyDataSpec, raw.get("data"))
    models, surfaces = _items(raw, "models"), _items(raw, "surfaces")
    return _Readable(
        data=resolve_data(data) if data else None,
        training=_valid(TrainingSpec, raw.get("training", {})),
        minimum=_valid(MinimumSpec, raw.get("minimum", {})),
        replicates=_valid(ReplicatesSpec, raw.get("replicates", {})),
        models=tuple(_valid(ModelSpec, item) for item in models),
        surfaces=tuple(_valid(SurfaceSpec, item) for item in surfaces),
        model_names=tuple(_text(keys(item).get("name")) for item in models),
        surface_names=tuple(_text(keys(item).get("name")) for item in surfaces),
        surface_models=tuple(_texts(keys(item).get("models")) for item in surfaces),
    )


def _valid(kind: Any, raw: Any) -> Any:
    try:
        return _adapter_of(kind).validate_python(raw)
    except ValidationError:
        return None


_adapter_of = cache(TypeAdapter)  # making one takes a thousand times as long as using it


def _items(raw: Mapping[str, Any], section: str) -> list[Any]:
    """Return the models or surfaces; only the first if there are too many, which is reported already."""
    if section not in raw:
        return [item.model_dump(exclude_unset=True) for item in Spec.model_fields[section].default]
    return raw[section][:MAX_ITEMS] if isinstance(raw[section], list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> tuple[str, ...]:
    """Return the texts in a list, or nothing if it has other items, which are reported already."""
    return tuple(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else ()


def _counts(spec: _Readable) -> Iterator[Problem]:
    """Check that the set has enough images, and that there is one of each class."""
    data = spec.pictures
    if data is None or data.train is None or data.validation is None:
        return
    if data.train < CLASSES.get(data.name, 1):
        yield ("data", "train"), f"must be at least {CLASSES[data.name]}, one image of each class (got {data.train})"
    if data.name == "digits" and data.train + data.validation > DIGITS_IMAGES:
        total = f"{data.train} + {data.validation} = {data.train + data.validation}"
        yield (
            ("data", "train"),
            f"train + validation must be at most {DIGITS_IMAGES}, the number of digits (got {total})",
        )
    if data.name == "cifar10":
        for field, most, asked in zip(
            ("train", "validation"), DEFAULT_COUNTS["cifar10"], (data.train, data.validation), strict=True
        ):
            if most is not None and asked > most:
                yield ("data", field), f"must be at most {most}, the number that CIFAR-10 has (got {asked})"
        if data.size != CIFAR10_SIZE:
            yield (
                ("data", "size"),
                f"must be {CIFAR10_SIZE} for cifar10 (got {data.size}); use name: images to resize pictures",
            )


def _classes(spec: _Readable) -> Iterator[Problem]:
    """Check that the last layer has one node per class."""
    classes = CLASSES.get(spec.data.name) if spec.data else None
    if spec.data is None or classes is None:
        return
    for index, model in enumerate(spec.models):
        field, last = _layers(model)
        if last and last[-1] != classes:
            at = ("models", index, field, len(last) - 1)
            yield at, f"must be {classes}, the number of classes of {spec.data.name} (got {last[-1]})"


def _parameters(spec: _Readable) -> Iterator[Problem]:
    """Refuse a network that is too large for memory, before anything is allocated."""
    size = spec.pictures.size if spec.pictures else CIFAR10_SIZE
    for index, model in enumerate(spec.models):
        count = None if model is None else parameter_count(model, size=size, classes=1)
        if count is not None and count > MAX_PARAMETERS:
            yield (
                ("models", index, _layers(model)[0]),
                f"makes {count:.2g} parameters; at most {MAX_PARAMETERS:.2g} are allowed",
            )


def _layers(model: ModelSpec | None) -> tuple[str, tuple[int, ...]]:
    match model:
        case DnnModel():
            return "widths", model.widths
        case CnnModel():
            return "channels", model.channels
        case _:
            return "", ()


def _lone_images(spec: _Readable) -> Iterator[Problem]:
    """Check that no batch of ResNet50 has one image, because batch norm cannot train on one image."""
    if spec.training is None or spec.pictures is None or spec.pictures.train is None:
        return
    for index, model in enumerate(spec.models):
        if not isinstance(model, Resnet50Model):
            continue
        batch, train = merge_training(model.training, over=spec.training).batch_size, spec.pictures.train
        if batch == 1 or train % batch == 1:
            own = "batch_size" in model.training.model_fields_set
            at = ("models", index, "training", "batch_size") if own else ("training", "batch_size")
            yield (
                at,
                (
                    f"leaves a batch of one image ({train} images in batches of {batch}), on which batch norm of model "
                    f"{model.name!r} cannot train; change batch_size or data.train"
                ),
            )


def _losses(spec: _Readable) -> Iterator[Problem]:
    """Check that the loss fits the data's targets and the other settings."""
    if spec.training is not None and spec.minimum is not None:
        yield from find_loss_problems(spec.data, spec.training, spec.models, labels=spec.minimum.labels)


def _samples(spec: _Readable) -> Iterator[Problem]:
    train = spec.pictures.train if spec.pictures else None
    for index, surface in enumerate(spec.surfaces):
        if surface and surface.samples and train is not None and surface.samples > train:
            yield ("surfaces", index, "samples"), f"must be at most data.train, {train} (got {surface.samples})"


def _chunks(spec: _Readable) -> Iterator[Problem]:
    """Limit the number of chunks of a surface, because each is two files."""
    for index, surface in enumerate(spec.surfaces):
        if surface is not None and _chunk_count(surface) > MOST_CHUNKS:
            K, least = surface.grid.K, math.ceil(surface.grid.K / math.isqrt(MOST_CHUNKS))
            message = f"divides {K} x {K} points into {_chunk_count(surface)} chunks; must be at least {least}"
            yield ("surfaces", index, "chunk"), f"{message} (got {surface.chunk})"


def _chunk_count(surface: SurfaceSpec) -> int:
    return math.ceil(surface.grid.K / surface.chunk) ** 2


def _names(spec: _Readable) -> Iterator[Problem]:
    """Check that names are unique, and that surfaces name existing models."""
    yield from _unique("models", spec.model_names)
    yield from _unique("surfaces", spec.surface_names)
    names = tuple(name for name in spec.model_names if name is not None)
    for index, wanted in enumerate(spec.surface_models):
        seen: set[str] = set()
        for place, name in enumerate(wanted):
            at = ("surfaces", index, "models", place)
            if name not in names:
                hint = did_you_mean(name, names) or f"; there are {', '.join(names) or 'none'}"
                yield at, f"no model is called {got(name)[5:]}{hint}"
            elif name in seen:
                yield at, f"{name!r} is listed twice"
            seen.add(name)


def _paths(spec: _Readable) -> Iterator[Problem]:
    """Check that principal components of a path have a path."""
    for index, surface in enumerate(spec.surfaces):
        if surface is None or surface.directions.kind != "pca" or spec.training is None:
            continue
        drawn = surface.models or tuple(name for name in spec.model_names if name is not None)
        for model in (model for model in spec.models if model is not None and model.name in drawn):
            if merge_training(model.training, over=spec.training).trajectory is None:
                yield (
                    ("surfaces", index, "directions", "kind"),
                    f"pca needs the path of training of {model.name!r}; add training.trajectory: {{every: 1}}",
                )


def _averaging(spec: _Readable) -> Iterator[Problem]:
    """Check that averaging starts at an epoch that training can reach."""
    if spec.training is None:
        return
    found: list[tuple[Location, TrainingSpec]] = [
        (("models", index), merge_training(model.training, over=spec.training))
        for index, model in enumerate(spec.models)
        if model
    ]
    for at, training in found or [((), spec.training)]:
        if training.averaging and training.averaging.start > training.max_epochs:
            words = f"must be at most max_epochs, {training.max_epochs} (got {training.averaging.start})"
            yield (*at, "training", "averaging", "start"), words


def _between(spec: _Readable) -> Iterator[Problem]:
    """Check that a plane between minima has three points of the same network."""
    models = {model.name: model for model in spec.models if model is not None}
    known = {name for name in spec.model_names if name is not None}
    replicates = spec.replicates.training if spec.replicates else 1
    for index, surface in enumerate(spec.surfaces):
        if surface is None or surface.directions.between is None:
            continue
        for place, name in enumerate(surface.directions.between):
            at, base = ("surfaces", index, "directions", "between", place), base_name(name)
            number = int(name.rpartition(".r")[2]) if "." in name else 0
            if base not in known:
                hint = did_you_mean(base, tuple(known)) or f"; there are {', '.join(sorted(known)) or 'none'}"
                yield at, f"no model is called {got(base)[5:]}{hint}"
            elif number >= replicates:
                yield at, f"there are {replicates} trainings of {base} (replicates.training); {name} is not one of them"
        drawn = surface.models or default_models(surface, tuple(models.values()))
        if not drawn and all(base_name(name) in models for name in surface.directions.between):
            yield ("surfaces", index, "models"), "is needed: no other model is the same network as the two of `between`"
        for place, name in enumerate(surface.models or ()):
            own = ("surfaces", index, "models", place)
            if name in surface.directions.between:
                yield own, f"{name!r} is one of the two of `between`; the plane needs a third minimum"
                continue
            for other in map(base_name, surface.directions.between):
                if name in models and other in models and not is_same_network(models[name], models[other]):
                    yield own, f"{name!r} and {other!r} of `between` are different networks, so no line joins them"


def _unique(section: str, names: tuple[str | None, ...]) -> Iterator[Problem]:
    for index, name in enumerate(names):
        if name is not None and name in names[:index]:
            first = names.index(name)
            yield (section, index, "name"), f"{name!r} is already the name of {section}[{first}]; names must be unique"


def _optimizers(spec: _Readable) -> Iterator[Problem]:
    """Check that a model names its optimizer if the section has another than Adam. Without a name, it is Adam."""
    general = spec.training.optimizer.name if spec.training else "adam"
    for index, model in enumerate(spec.models):
        own = model.training if model else TrainingSpec()
        if general != "adam" and "optimizer" in own.model_fields_set and "name" not in own.optimizer.model_fields_set:
            at = ("models", index, "training", "optimizer")
            yield at, f"needs a name: it replaces the whole training.optimizer, which is {general}"


def _amount(spec: _Readable) -> Iterator[Problem]:
    """Limit the trainings, surfaces and chunks of a run, whose numbers replicates multiply."""
    if spec.replicates is None:
        return
    trainings = len(spec.models) * spec.replicates.training
    if trainings > MAX_TRAININGS:
        yield ("replicates", "training"), f"makes {trainings} trainings; at most {MAX_TRAININGS} fit into one run"
    networks = [len(wanted) or len(spec.models) for wanted in spec.surface_models]
    each = spec.replicates.training * spec.replicates.directions
    at = ("replicates", "directions" if spec.replicates.directions > 1 else "training")
    if (surfaces := sum(networks) * each) > MAX_SURFACES:
        yield at, f"makes {surfaces} surfaces of single networks; at most {MAX_SURFACES} fit into one run"
        return
    pairs = zip(networks, spec.surfaces, strict=True)
    chunks = sum(count * each * _chunk_count(surface) for count, surface in pairs if surface is not None)
    if chunks > MAX_CHUNKS_IN_ALL:
        message = f"makes {chunks} chunks in all surfaces; at most {MAX_CHUNKS_IN_ALL} fit into one run: raise chunk"
        yield ("surfaces", 0, "chunk") if each == 1 else at, message
