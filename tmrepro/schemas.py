"""The JSON files of a run folder: how their text is written, and what minimum.json holds.

The schema of minimum.json is derived from the record that is written there, so the two cannot drift apart.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from tmrepro.records import Minimum

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def dump_json(value: Any) -> str:
    """Return `value` as the text of a JSON file: UTF-8, keys in the order given, two spaces, a newline at the end.

    Floats are written with the fewest digits that give the same float back: reading a file returns what was computed.

    Raises:
        ValueError: a nan or an infinity, which JSON does not have.
    """
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def minimum_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of models/NAME/minimum.json: the fields of `records.Minimum`, all required."""
    derived = TypeAdapter(Minimum).json_schema()
    about = {"$schema": SCHEMA_DIALECT, "title": "minimum.json"}
    strict = {"required": [*derived["properties"]], "additionalProperties": False}
    return about | {key: part for key, part in derived.items() if key != "title"} | strict
