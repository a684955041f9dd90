"""The sources of the values: finished runs and references of one spec, which may differ only in their seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tmrepro.claims.document import OF_SURFACES, REACHED
from tmrepro.claims.judge import Sample
from tmrepro.errors import DamagedError, UsageError
from tmrepro.records import FAILED, Epoch, History, Minimum
from tmrepro.spec import Spec, TrainedModel, expand_models, expand_surfaces
from tmrepro.spec.seeds import first_difference_beyond_seeds
from tmrepro.store.finished import read_finished
from tmrepro.store.statistics import StoredStatistics

DATA_FIELDS = ("name", "source", "fingerprint", "train", "validation")


@dataclass(frozen=True)
class Source:
    """The data of one run or reference that judging needs. `data` describes the data set, from its `provenance`."""

    name: str
    spec: Spec
    minima: Mapping[str, Minimum]
    histories: Mapping[str, History]
    statistics: StoredStatistics
    data: Mapping[str, Any]
    provenance: Mapping[str, Any]


def read_source(folder: Path) -> Source:
    """Read the finished run or reference in `folder`.

    Raises:
        DamagedError: it is missing, is not finished, or differs from its manifest.
    """
    found = read_finished(folder)
    return Source(
        name=found.name,
        spec=found.spec,
        minima=found.minima,
        histories={model: found.history(model) for model in found.models},
        statistics=found.statistics,
        data=data_of(found.provenance),
        provenance=found.provenance,
    )


def data_of(provenance: object) -> dict[str, Any]:
    """Return name, source, fingerprint and sizes of the data, from the content of provenance.json."""
    data = provenance.get("data") if isinstance(provenance, dict) else None
    if not isinstance(data, dict):
        raise DamagedError("provenance.json: data: expected an object that describes the data, found none")
    return {name: data[name] for name in DATA_FIELDS if name in data}


def require_one_spec(sources: Sequence[Source]) -> None:
    """Raise UsageError unless all sources have the same data and the same spec except seeds, and no training seed twice."""
    first, *others = sources
    for other in others:
        spec = other.spec.model_copy(update={"replicates": first.spec.replicates})
        difference = first_difference_beyond_seeds(first.spec, spec)
        if difference is not None:
            raise UsageError(
                f"{other.name} has another spec than {first.name}: {difference}. Claims are judged over folders of one "
                "spec that differ in their seeds only"
            )
        if other.data.get("fingerprint") != first.data.get("fingerprint"):
            raise UsageError(f"{other.name} was computed from other data than {first.name}: data.fingerprint differs")
    seen: dict[tuple[str, int], str] = {}
    for source in sources:
        for model in expand_models(source.spec):
            key = (model.base, model.seed)
            if key in seen:
                raise UsageError(
                    f"{source.name}: training seed {model.seed} of {model.base} is also in {seen[key]}; seeds are the unit of "
                    "the test, so each may appear only once"
                )
            seen[key] = source.name


def settings_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """Return the surfaces of the spec, which are the names of the settings."""
    return tuple(surface.name for surface in sources[0].spec.surfaces)


def sample_of(sources: Sequence[Source], *, network: str, statistic: str, setting: str) -> Sample:
    """Return the values of `statistic` by training seed of `network`, in one setting."""
    if all(network != model.name for model in sources[0].spec.models):
        return Sample(missing=f"the spec has no network {network}")
    if statistic in OF_SURFACES and not any(
        model.base == network for source in sources for _, model in _drawn(source, setting)
    ):
        return Sample(missing=f"surface {setting} is not drawn around {network}")
    values: dict[int, float | int | None] = {}
    left_out: dict[int, str] = {}
    for source in sources:
        for model in expand_models(source.spec):
            if model.base != network:
                continue
            try:
                values[model.seed] = _value(source, model, statistic, setting)
            except _NoValueError as error:
                left_out[model.seed] = str(error)
    return Sample(values, left_out)


class _NoValueError(Exception):
    """A seed has no value; the message gives the reason."""


def _value(source: Source, model: TrainedModel, statistic: str, setting: str) -> float | int | None:
    minimum = source.minima[model.name]
    failed = minimum.category in FAILED
    if statistic in REACHED:
        return None if failed else _reached(minimum, statistic)
    if failed:
        raise _NoValueError(minimum.category)
    if statistic in OF_SURFACES:
        return _of_surfaces(source, model, statistic, setting)
    value = (
        getattr(_first_lm(source, minimum), statistic.removesuffix("_at_lm"))
        if statistic.endswith("_at_lm")
        else getattr(minimum, statistic)
    )
    if value is None:
        raise _NoValueError("undefined")
    return value  # type: ignore[no-any-return]  # a field of a record


def _reached(minimum: Minimum, statistic: str) -> float | int | None:
    if statistic != "epochs_from_lm_to_gm":
        return getattr(minimum, statistic)  # type: ignore[no-any-return]
    if minimum.gm_first_epoch is None or minimum.lm_first_epoch is None:
        return None
    return minimum.gm_first_epoch - minimum.lm_first_epoch


def _first_lm(source: Source, minimum: Minimum) -> Epoch:
    epochs = source.histories[minimum.model].epochs
    if minimum.lm_first_epoch is None:
        raise _NoValueError("no LM was reached")
    if not 1 <= minimum.lm_first_epoch <= len(epochs):
        raise DamagedError(
            f"models/{minimum.model}/history.csv: expected epoch {minimum.lm_first_epoch}, that of the first LM; found none"
        )
    return epochs[minimum.lm_first_epoch - 1]


def _of_surfaces(source: Source, model: TrainedModel, statistic: str, setting: str) -> float:
    """Return the median over the pairs of directions for which the statistic is defined."""
    found = []
    for name, drawn in _drawn(source, setting):
        if drawn.name != model.name:
            continue
        if model.name not in source.statistics.get(name, {}):
            raise DamagedError(f"{source.name}/statistics.json: expected {name}/{model.name}, found no such surface")
        value = source.statistics[name][model.name].get(statistic)
        if value is not None:
            found.append(float(value))
    if not found:
        raise _NoValueError("undefined")
    return median(found)


def _drawn(source: Source, setting: str) -> Iterator[tuple[str, TrainedModel]]:
    """Yield every surface of a setting, one per pair of directions, and its network."""
    models = {model.name: model for model in expand_models(source.spec)}
    for drawn in expand_surfaces(source.spec):
        if drawn.base == setting:
            yield from ((drawn.name, models[name]) for name in drawn.models)
