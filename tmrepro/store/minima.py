"""models/NAME/minimum.json: what a trained point is."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from tmrepro.errors import DamagedError
from tmrepro.records import Minimum
from tmrepro.store.atomic import safe_path
from tmrepro.store.documents import read_json, write_json


def save_minimum(run: Path, minimum: Minimum, *, work: Path) -> str:
    """Write the record; numbers that are not finite become null. Returns the path relative to `run`."""
    relative = f"models/{minimum.model}/minimum.json"
    document = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in dataclasses.asdict(minimum).items()
    }
    write_json(run / relative, document, work=work)
    return relative


def read_minimum(run: Path, model: str) -> Minimum:
    """The record of `model`.

    Raises:
        DamagedError: it is missing or not such a record.
    """
    relative = f"models/{model}/minimum.json"
    document = read_json(safe_path(run, relative), name=relative)
    try:
        return Minimum(**{**document, "seeds_collapsed": tuple(document["seeds_collapsed"])})
    except (TypeError, KeyError) as error:
        raise DamagedError(f"{relative}: not a minimum's record ({error})") from error
