"""The canonical form of a spec: as a dict, as YAML and as a hash; and the first difference of two specs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import rfc8785

from tmrepro.spec.model import Spec
from tmrepro.spec.scalars import write_flow, write_scalar

HEADER = "# The resolved spec: every default is written out. Its hash is that of this content, not of this text.\n"


def canonical_dict(spec: Spec) -> dict[str, Any]:
    """Return a resolved spec as JSON-like values, in the order of the fields."""
    return spec.model_dump(mode="json")


def spec_hash(spec: Spec) -> str:
    """Return the SHA-256 (hex) of a resolved spec in RFC 8785 form. Key order, comments and 1 or 1.0 do not matter."""
    return hash_of(canonical_dict(spec))


def hash_of(plain: dict[str, Any]) -> str:
    """Return `spec_hash` of JSON-like values: a resolved spec, or one from a version with fewer fields."""
    return hashlib.sha256(rfc8785.dumps(plain)).hexdigest()


def dump_spec(spec: Spec) -> str:
    """Return a resolved spec as YAML that `load_spec` reads back unchanged. The same spec gives the same bytes."""
    return HEADER + "".join(f"{line}\n" for line in _block(canonical_dict(spec)))


@dataclass(frozen=True)
class SpecDifference:
    """A field in which two specs differ, and its value in each as YAML; None on a side that does not have the field."""

    field: str
    here: str | None
    there: str | None

    def __str__(self) -> str:
        if self.here is None or self.there is None:
            return f"{self.field}: only {'there' if self.here is None else 'here'}"
        return f"{self.field}: {self.here} here, {self.there} there"


def first_difference(ours: Spec, theirs: Spec) -> SpecDifference | None:
    """Return the first field, in the order of the schema, in which two resolved specs differ; None if they are the same."""
    return next(_differences(canonical_dict(ours), canonical_dict(theirs), ""), None)


def _block(value: dict[str, Any]) -> Iterator[str]:
    for key, below in value.items():
        if isinstance(below, dict) and below and key != "arguments":
            yield f"{write_scalar(key)}:"
            yield from (f"  {line}" for line in _block(below))
        elif isinstance(below, list) and below and isinstance(below[0], dict):
            yield f"{write_scalar(key)}:"
            for item in below:
                first, *rest = _block(item)
                yield f"  - {first}"
                yield from (f"    {line}" for line in rest)
        else:
            yield f"{write_scalar(key)}: {write_flow(below)}"


def _differences(ours: Any, theirs: Any, path: str) -> Iterator[SpecDifference]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in dict.fromkeys([*ours, *theirs]):
            below = f"{path}.{key}" if path else key
            if key not in ours or key not in theirs:
                here, there = (write_flow(side[key]) if key in side else None for side in (ours, theirs))
                yield SpecDifference(below, here, there)
            else:
                yield from _differences(ours[key], theirs[key], below)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (here, there) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(here, there, f"{path}[{index}]")
    elif (
        isinstance(ours, list) and isinstance(theirs, list) and any(isinstance(item, dict) for item in [*ours, *theirs])
    ):
        yield SpecDifference(path, f"{len(ours)} entries", str(len(theirs)))
    elif rfc8785.dumps(ours) != rfc8785.dumps(theirs):
        yield SpecDifference(path, write_flow(ours), write_flow(theirs))
