"""Where the values come from: finished runs and references of one spec, which differ in their seeds at most."""

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
    """One run or reference: what judging needs of it. `data` is what its `provenance` says of the data."""

    name: str
    spec: Spec
    minima: Mapping[str, Minimum]
    histories: Mapping[str, History]
    statistics: StoredStatistics
    data: Mapping[str, Any]
    provenance: Mapping[str, Any]


def read_source(folder: Path) -> Source:
    """The finished run or reference in `folder`.

    Raises:
        DamagedError: there is none, it is not finished, or it is not what its manifest says.
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
    """Name, source, fingerprint and sizes of the data, from what provenance.json holds."""
    data = provenance.get("data") if isinstance(provenance, dict) else None
    if not isinstance(data, dict):
        raise DamagedError("provenance.json: data: expected what is known of the data, found none")
    return {name: data[name] for name in DATA_FIELDS if name in data}


def require_one_spec(sources: Sequence[Source]) -> None:
    """Raise UsageError unless all sources have one spec but for seeds, the same data, and no training seed twice."""
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
                    f"{source.name}: training seed {model.seed} of {model.base} is in {seen[key]} too; seeds are the unit of "
                    "the test, so each may be there once"
                )
            seen[key] = source.name


def settings_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """The surfaces of the spec, by which settings are called."""
    return tuple(surface.name for surface in sources[0].spec.surfaces)


def sample_of(sources: Sequence[Source], *, network: str, statistic: str, setting: str) -> Sample:
    """The values of `statistic` by training seed of `network`, in one setting."""
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
    """A seed that has no value, and why."""


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
    """The median over the pairs of directions; those where the statistic is undefined are left out."""
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
    """Every surface of a setting, direction pairs apart, and the trained network that it is drawn around."""
    models = {model.name: model for model in expand_models(source.spec)}
    for drawn in expand_surfaces(source.spec):
        if drawn.base == setting:
            yield from ((drawn.name, models[name]) for name in drawn.models)
