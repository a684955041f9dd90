"""The data section of provenance.json: inputs and outputs of networks, and the place of the data."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tmrepro.errors import DamagedError
from tmrepro.records import Signature
from tmrepro.spec import DataSpec, Spec
from tmrepro.spec.limits import EXAMPLE_NUMBERS

HOME = "home"
PATH_CHARACTERS = 4096
SIGNATURE = "signature"  # the key in provenance.json's data, if they are not images
_RECORD = TypeAdapter(Signature)
_DTYPES = frozenset({"float32", "bool", "uint8", "int8", "int16", "int32", "int64"})
_INT64 = 2**63


def signature_document(signature: Signature) -> dict[str, Any]:
    """Return the record as JSON values."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(signature).items()
    }


def recorded_signature(provenance: Any, spec: Spec) -> Signature:
    """Return the signature of a run's networks.

    Raises:
        DamagedError: provenance.json does not contain it.
    """
    data = provenance.get("data") if isinstance(provenance, Mapping) else None
    data = data if isinstance(data, Mapping) else {}
    if isinstance(spec.data, DataSpec):
        classes = data.get("classes")
        if not isinstance(classes, list) or not classes:
            raise DamagedError("provenance.json: expected the classes of the data, found none")
        return Signature.of_pictures(classes=len(classes), size=spec.data.size)
    try:
        signature = _RECORD.validate_json(json.dumps(data.get(SIGNATURE)), strict=True)
    except ValidationError as error:
        raise DamagedError("provenance.json: expected the shapes of the data, found something else") from error
    lengths = (*signature.shape, *signature.outputs)
    if (
        signature.dtype not in _DTYPES
        or not signature.outputs
        or not all(length >= 1 for length in lengths)
        or max(math.prod(signature.shape), math.prod(signature.outputs)) > EXAMPLE_NUMBERS
        or not -_INT64 <= signature.least <= signature.largest < _INT64
    ):
        raise DamagedError("provenance.json: expected valid shapes of data, found others")
    return signature


def home_document(home: Path | None, *, run: Path, spec: Spec) -> dict[str, str]:
    """Return the folder that paths in `data` start from, relative to RUN; empty if there are no paths, or no relative way."""
    named = getattr(spec.data, "file", None) or getattr(spec.data, "folder", None)
    if home is None or named is None:
        return {}
    try:
        return {HOME: Path(os.path.relpath(home.resolve(), run.resolve())).as_posix()}
    except ValueError:  # another drive
        return {}


def recorded_home(run: Path, data: Mapping[str, Any]) -> Path | None:
    """Return the folder that `home_document` recorded for paths in `data`. The caller checks the data there."""
    home = data.get(HOME)
    if not isinstance(home, str) or not home or "\0" in home or len(home) > PATH_CHARACTERS:
        return None
    return run / home
