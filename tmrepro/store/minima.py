"""models/NAME/minimum.json: the category of a trained point, and its numbers."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tmrepro.errors import DamagedError
from tmrepro.records import Minimum
from tmrepro.spec.json_text import SCHEMA_DIALECT
from tmrepro.store.atomic import safe_path
from tmrepro.store.documents import read_json, write_json
from tmrepro.store.run_files import MINIMUM, model_file

_RECORD = TypeAdapter(Minimum)


def minimum_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of minimum.json: the fields of `records.Minimum`, all required."""
    derived = _RECORD.json_schema()
    about = {"$schema": SCHEMA_DIALECT, "title": "minimum.json"}
    strict = {"required": [*derived["properties"]], "additionalProperties": False}
    return about | {key: part for key, part in derived.items() if key != "title"} | strict


def save_minimum(run: Path, minimum: Minimum, *, work: Path) -> str:
    """Write the record, with null for numbers that are not finite. Return the path relative to `run`."""
    relative = model_file(minimum.model, MINIMUM)
    write_json(run / relative, minimum_document(minimum), work=work)
    return relative


def minimum_document(minimum: Minimum) -> dict[str, Any]:
    """Return the record as JSON values."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in dataclasses.asdict(minimum).items()
    }


def read_minimum(run: Path, model: str) -> Minimum:
    """Return the record of `model`.

    Raises:
        DamagedError: the record is missing or invalid.
    """
    relative = model_file(model, MINIMUM)
    return minimum_from(read_json(safe_path(run, relative), name=relative), model=model, name=relative)


def minimum_from(document: object, *, model: str, name: str) -> Minimum:
    """Return the record of `model` from its JSON values. Messages call them `name`.

    Raises:
        DamagedError: they are not a valid record.
    """
    expected = {field.name for field in dataclasses.fields(Minimum)}
    if not isinstance(document, dict) or set(document) != expected:
        raise DamagedError(f"{name}: expected the fields {', '.join(sorted(expected))}, found others")
    try:
        minimum = _RECORD.validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DamagedError(f"{name}: {where}: {first['msg']}") from error
    if minimum.model != model:
        raise DamagedError(f"{name}: expected the record of {model}, found that of {minimum.model!r}")
    diverged = minimum.category == "diverged"
    numbers: tuple[float | None, ...] = (minimum.theta_norm,)
    if minimum.labels != "outputs":  # outputs are neither right nor wrong
        numbers = (*numbers, minimum.train_accuracy, minimum.validation_accuracy)
    if diverged != (minimum.stopped == "diverged") or (not diverged and None in numbers):
        raise DamagedError(f"{name}: expected a theta* with its numbers, or a training that diverged, found neither")
    return minimum
