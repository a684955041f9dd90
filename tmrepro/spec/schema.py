"""The JSON Schema of a spec file, for editors and for readers in other languages."""

from __future__ import annotations

from typing import Any

from tmrepro.spec.json_text import SCHEMA_DIALECT, dump_json
from tmrepro.spec.model import Spec


def spec_schema() -> dict[str, Any]:
    """Return the schema of a spec file: each field with its meaning and `paper` or `reason`."""
    return {"$schema": SCHEMA_DIALECT, **Spec.model_json_schema()}


def dump_schema() -> str:
    """Return the schema as the text of spec/schema.json."""
    return dump_json(spec_schema())
