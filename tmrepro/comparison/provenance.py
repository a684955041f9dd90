"""Compares the provenance of two runs: values that can change a bit, and which levels of determinism they affect.

`PLACES` is the one list of what is compared. `likely_reasons` names what differs, for `tmrepro diff`. `verification.platforms`
decides from the same list whether two runs should be bitwise identical.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Path = tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """A value in provenance.json that can change a bit.

    `breaks`: the levels of determinism that promise nothing if the value differs. "all": both levels that promise bits.
    "machine": only level machine. "none": the value is only a likely reason.
    """

    path: Path
    breaks: Literal["all", "machine", "none"]


# In the order of the report. A new version of a validation library changes no bit, so not every package is listed.
PLACES: tuple[Place, ...] = (
    Place(("platform", "device"), "all"),
    Place(("platform", "determinism", "asked"), "all"),
    Place(("platform", "determinism", "reached"), "all"),
    Place(("platform", "determinism", "threads"), "all"),
    Place(("platform", "torch_cpu_capability"), "machine"),
    Place(("platform", "machine"), "all"),
    Place(("platform", "processor"), "machine"),
    Place(("platform", "system"), "all"),
    Place(("platform", "python"), "none"),
    Place(("code", "version"), "none"),
    Place(("code", "commit"), "none"),
)
_NAMED: tuple[Path, ...] = (("platform", "determinism", "environment"), ("packages",))
_FINGERPRINT: Path = ("platform", "fingerprint")


def value_at(document: object, path: Sequence[str]) -> Any:
    """Return the value at `path` in nested mappings; None if there is none."""
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def likely_reasons(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """Return what differs between two provenance documents and can change a bit, the most likely reason first."""
    found = list(_arithmetic(here, there))
    for path in [*(place.path for place in PLACES), *_named(here, there), *_evaluators(here, there)]:
        ours, theirs = value_at(here, path), value_at(there, path)
        if ours != theirs:
            words = [name for name in path if name not in {"platform", "facts", "stages"}]
            found.append(f"{' '.join(words)}: {_word(ours)} here, {_word(theirs)} there")
    return found


def different_operations(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return, by device, the operations whose numerical fingerprints differ. Only devices and operations of both sides count."""
    ours, theirs = (_fingerprint(side) for side in (here, there))
    found = {
        device: [name for name in operations if name in theirs[device] and operations[name] != theirs[device][name]]
        for device, operations in ours.items()
        if device in theirs
    }
    return {device: names for device, names in found.items() if names}


def _fingerprint(provenance: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = value_at(provenance, _FINGERPRINT)
    devices = found.items() if isinstance(found, Mapping) else ()
    return {str(device): operations for device, operations in devices if isinstance(operations, Mapping)}


def _arithmetic(here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[str]:
    if bool(_fingerprint(here)) != bool(_fingerprint(there)):
        yield "numerical fingerprint: only one run has one"
    for device, names in different_operations(here, there).items():
        yield f"the machines compute different bits ({device}): {', '.join(names)}"


def _named(here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[Path]:
    for path in _NAMED:
        sides = [side for side in (value_at(here, path), value_at(there, path)) if isinstance(side, Mapping)]
        yield from ((*path, str(name)) for name in dict.fromkeys(name for side in sides for name in side))


def _evaluators(here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the place of the evaluator of every surface that both runs have."""
    ours, theirs = (value_at(side, ("stages",)) for side in (here, there))
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        yield from (("stages", str(name), "facts", "evaluator") for name in ours if name in theirs)


def _word(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
