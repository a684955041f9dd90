"""Finished runs and references side by side: the differences of their specs, their networks, their statistics."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmrepro.errors import UsageError
from tmrepro.reporting.masthead import masthead
from tmrepro.spec import canonical_dict, spec_hash
from tmrepro.spec.scalars import write_flow
from tmrepro.statistics import STATISTICS
from tmrepro.store.finished import Finished, read_finished

Cell = float | int | str | None

FEWEST = 2
# The fields of minimum.json in the table of networks.
OF_NETWORKS = (
    "category", "epochs", "train_loss_at_minimum", "validation_loss", "relabelled_loss", "train_accuracy", "validation_accuracy",
    "parameters", "seed", "lm_first_epoch", "gm_first_epoch",
)  # fmt: skip
_PAPER = "Paper"  # a masthead line that is the same for all


@dataclass(frozen=True)
class Row:
    """A row of the table. `values` [runs] are None if a run does not have it, or if it is undefined.

    `place` names it: the field of a spec; network and field; surface, network and statistic.
    """

    place: tuple[str, ...]
    values: tuple[Cell, ...]

    @property
    def differs(self) -> bool:
        """Whether two of the runs have different values."""
        return len(set(self.values)) > 1

    @property
    def is_shared(self) -> bool:
        """Whether at least two of the runs have a value."""
        return sum(value is not None for value in self.values) > 1


@dataclass(frozen=True)
class Comparison:
    """Several runs, a column for each. `runs` are their folders as given."""

    runs: tuple[str, ...]
    names: tuple[str, ...]
    origins: tuple[Row, ...]
    spec: tuple[Row, ...]
    networks: tuple[Row, ...]
    statistics: tuple[Row, ...]

    def document(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values."""
        keys = {
            "origins": ("term",),
            "spec": ("field",),
            "networks": ("network", "field"),
            "statistics": ("surface", "network", "statistic"),
        }
        tables = {
            table: [
                dict(zip(names, row.place, strict=True)) | {"values": list(row.values)} for row in getattr(self, table)
            ]
            for table, names in keys.items()
        }
        return {"runs": list(self.runs), "names": list(self.names), **tables}

    def text(self) -> str:
        """Return `document` as JSON."""
        return json.dumps(self.document(), indent=2, ensure_ascii=False, allow_nan=False)


def compare_folders(folders: Sequence[Path]) -> Comparison:
    """Read and compare at least two finished runs or references.

    Raises:
        UsageError: there are fewer, or one of them is not a run.
        DamagedError: one is not finished, or differs from its manifest.
    """
    if len(folders) < FEWEST:
        raise UsageError(f"expected at least {FEWEST} runs to compare, got {len(folders)}; list runs with 'tmrepro ls'")
    found = [read_finished(folder) for folder in folders]
    origins = [masthead(run.provenance) for run in found]
    terms = dict.fromkeys(term for origin in origins for term in origin if term != _PAPER)
    hashes = Row(("Spec hash",), tuple(spec_hash(run.spec) for run in found))
    return Comparison(
        runs=tuple(run.name for run in found),
        names=tuple(run.spec.name for run in found),
        origins=(hashes, *(Row((term,), tuple(origin.get(term) for origin in origins)) for term in terms)),
        spec=tuple(_spec_rows(found)),
        networks=tuple(_network_rows(found)),
        statistics=tuple(_statistic_rows(found)),
    )


def _spec_rows(runs: Sequence[Finished]) -> Iterator[Row]:
    """Yield a row for every field in which the specs differ, in the order of the schema.

    A network or surface that only some of the specs have is one row. Its fields are compared among those that have it. A network
    has no rows for what it inherits from the section `training`.
    """
    specs = [dict(_fields(canonical_dict(run.spec))) for run in runs]
    rows = {
        place: Row((place,), tuple(fields.get(place) for fields in specs))
        for place in dict.fromkeys(place for fields in specs for place in fields)
    }
    told: set[str] = set()
    for place, row in rows.items():
        entry, of_an_entry, below = place.partition("].")
        having = [not of_an_entry or any(field.startswith(f"{entry}].") for field in fields) for fields in specs]
        if not all(having) and entry not in told:
            told.add(entry)
            yield Row((f"{entry}]",), tuple("there" if has else None for has in having))
        values = [value for value, has in zip(row.values, having, strict=True) if has]
        is_told = below.startswith("training.") and below in rows and rows[below].values == row.values
        if len(set(values)) > 1 and not is_told:
            yield row


def _fields(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield every value of a spec with its place in the spec's notation. Networks and surfaces are identified by name."""
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _fields(below, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) and "name" in item for item in value):
        for item in value:
            yield from _fields(item, f"{place}[{item['name']}]")
    else:
        yield place, write_flow(value)


def _network_rows(runs: Sequence[Finished]) -> Iterator[Row]:
    for model in dict.fromkeys(name for run in runs for name in run.minima):
        for field in OF_NETWORKS:
            values = [getattr(run.minima[model], field) if model in run.minima else None for run in runs]
            yield Row((model, field), tuple(values))


def _statistic_rows(runs: Sequence[Finished]) -> Iterator[Row]:
    pairs = dict.fromkeys(
        (surface, model) for run in runs for surface, models in run.statistics.items() for model in models
    )
    for surface, model in pairs:
        stored = [run.statistics.get(surface, {}).get(model, {}) for run in runs]
        present = {name for values in stored for name in values}
        for statistic in [info.name for info in STATISTICS if info.name in present]:
            yield Row((surface, model, statistic), tuple(values.get(statistic) for values in stored))
