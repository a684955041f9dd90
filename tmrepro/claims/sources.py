"""Where the values come from: finished runs and references of one spec, which differ in their seeds at most."""

from __future__ import annotations

import os
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
from tmrepro.store.atomic import safe_path
from tmrepro.store.documents import load_history, read_json
from tmrepro.store.manifest import check_manifest, told
from tmrepro.store.minima import read_minimum
from tmrepro.store.specs import SPEC, read_spec
from tmrepro.store.statistics import StoredStatistics, read_statistics

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
    if not os.path.lexists(folder / SPEC):
        raise DamagedError(
            f"{folder}: neither a run nor a reference is there; 'tmrepro run SPEC --out RUN' makes a run"
        )
    findings = check_manifest(folder)
    if findings:
        raise DamagedError(f"{folder}: {told(folder, findings)}")
    spec = read_spec(folder)
    models = [model.name for model in expand_models(spec)]
    histories = {name: _history(folder, name) for name in models}
    provenance = read_json(safe_path(folder, "provenance.json"), name=f"{folder}/provenance.json")
    return Source(
        name=str(folder),
        spec=spec,
        minima={name: read_minimum(folder, name) for name in models},
        histories=histories,
        statistics=read_statistics(folder, name=f"{folder}/statistics.json"),
        data=data_of(provenance),
        provenance=provenance,
    )


def _history(folder: Path, model: str) -> History:
    relative = f"models/{model}/history.csv"
    return load_history(safe_path(folder, relative), name=relative)


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
