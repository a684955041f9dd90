"""The JSON Schema of a spec file, for editors and for readers in other languages."""

from __future__ import annotations

import json
from typing import Any

from tmrepro.spec.model import Spec

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def spec_schema() -> dict[str, Any]:
    """The schema of what may be written: each field with its meaning and `paper` or `reason`."""
    return {"$schema": DIALECT, **Spec.model_json_schema()}


def dump_schema() -> str:
    """The schema as the text of spec/schema.json."""
    return json.dumps(spec_schema(), indent=2, ensure_ascii=False) + "\n"
