"""Where each value of a spec comes from: the paper, or us and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tmrepro.spec.canonical import at, canonical_dict
from tmrepro.spec.document import written
from tmrepro.spec.fields import Location, Section
from tmrepro.spec.model import Spec
from tmrepro.spec.resolve import resolve_data
from tmrepro.spec.data import DataSpec


@dataclass(frozen=True)
class Explanation:
    """One field of a resolved spec. Exactly one of `paper` (a section of the paper) and `reason` (ours) is given.

    They speak of the field and its default; `default` says whether `value` is that default.
    """

    path: str
    value: Any
    default: bool
    paper: str | None
    reason: str | None
    description: str


def explain(spec: Spec) -> tuple[Explanation, ...]:
    """Every value of a resolved spec, in the order of the schema.

    The default of a model's `training` is what the section `training` says.
    """
    return tuple(_explain(spec, canonical_dict(spec), (), None))


def format_explanations(explanations: tuple[Explanation, ...]) -> str:
    """A table for people: path, value, who gave the value, where the field or its default comes from."""
    rows = [("field", "value", "given by", "source of the field and its default")]
    for row in explanations:
        source = f"paper, {row.paper}" if row.paper else f"ours: {row.reason}"
        rows.append((row.path, _shown(row.value), "default" if row.default else "spec", source))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows)
