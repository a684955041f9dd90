"""The content of statistics.json: SURFACE -> MODEL -> statistic -> value, or None if it is undefined."""

from __future__ import annotations

from pathlib import Path

from tmrepro.errors import DamagedError
from tmrepro.store.atomic import safe_path, shown
from tmrepro.store.documents import read_json
from tmrepro.store.run_files import STATISTICS

StoredStatistics = dict[str, dict[str, dict[str, float | int | None]]]


def read_statistics(folder: Path, *, name: str = STATISTICS) -> StoredStatistics:
    """Read the statistics of `folder`. Their values are not checked here.

    Raises:
        DamagedError: the file is missing, or a value is neither a number nor null.
    """
    document = read_json(safe_path(folder, STATISTICS), name=name)
    for surface, models in _entries(document, name=name):
        for model, values in _entries(models, name=f"{name}: {surface}"):
            for statistic, value in _entries(values, name=f"{name}: {surface}: {model}"):
                if isinstance(value, bool) or not isinstance(value, int | float | None):
                    raise DamagedError(
                        shown(
                            f"{name}: {surface}: {model}: {statistic}: expected a number or null, found {value!r:.60}"
                        )
                    )
    found: StoredStatistics = document
    return found


def _entries(document: object, *, name: str) -> list[tuple[str, object]]:
    if not isinstance(document, dict):
        raise DamagedError(f"{shown(name)}: expected an object, found {document!r:.60}")
    return list(document.items())
