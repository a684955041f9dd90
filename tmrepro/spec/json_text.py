"""JSON text as tmrepro writes it."""

from __future__ import annotations

import json
from typing import Any

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def dump_json(value: Any) -> str:
    """Return `value` as the text of a JSON file: UTF-8, keys in the order given, two spaces, a newline at the end.

    Floats are written with the fewest digits that give the same float back: reading a file returns what was computed.

    Raises:
        ValueError: a nan or an infinity, which JSON does not have.
    """
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
