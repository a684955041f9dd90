"""The JSON Schema of statistics.json: SURFACE -> MODEL -> statistic -> value."""

from __future__ import annotations

from typing import Any

from tmrepro.spec.json_text import SCHEMA_DIALECT
from tmrepro.statistics.catalogue import STATISTICS, StatisticInfo


def statistics_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of statistics.json. Every statistic is in it; null means undefined."""
    values = {
        "type": "object",
        "properties": {info.name: _value_schema(info) for info in STATISTICS},
        "required": [info.name for info in STATISTICS],
        "additionalProperties": False,
    }
    models = {"type": "object", "description": "by model", "additionalProperties": values}
    return {
        "$schema": SCHEMA_DIALECT,
        "title": "statistics.json",
        "description": "The statistics of every surface of a run, by surface and model",
        "type": "object",
        "additionalProperties": models,
    }


def _value_schema(info: StatisticInfo) -> dict[str, Any]:
    unit = f" [{info.unit}]" if info.unit else ""
    return {"description": info.description + unit, "type": ["integer" if info.integer else "number", "null"]}
