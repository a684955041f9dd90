"""Likely reasons why two runs of one spec differ: code, packages, machines and arithmetic, from their provenance.

The fingerprint comes first. If it differs, the machines compute different bits, and the operations are named.
Otherwise the reason is elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Versions of these, or what of these a run writes down, can change a bit; that of a validation library cannot.
_PLACES: tuple[tuple[str, ...], ...] = (
    ("platform", "device"),
    ("platform", "determinism", "asked"),
    ("platform", "determinism", "reached"),
    ("platform", "determinism", "threads"),
    ("platform", "torch_cpu_capability"),
    ("platform", "machine"),
    ("platform", "processor"),
    ("platform", "system"),
    ("platform", "python"),
    ("code", "version"),
    ("code", "commit"),
)
_BY_NAME: tuple[tuple[str, ...], ...] = (("platform", "determinism", "environment"), ("packages",))
FINGERPRINT = ("platform", "fingerprint")


def likely_reasons(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """What differs between two provenance documents and can change a bit, the most telling first; empty if nothing does."""
    found = list(_arithmetic(here, there))
    for place in [*_PLACES, *_named(here, there), *_evaluators(here, there)]:
        ours, theirs = _at(here, place), _at(there, place)
        if ours != theirs:
            words = [name for name in place if name not in {"platform", "facts", "stages"}]
            found.append(f"{' '.join(words)}: {_word(ours)} here, {_word(theirs)} there")
    return found


def _arithmetic(here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[str]:
    ours, theirs = _at(here, FINGERPRINT), _at(there, FINGERPRINT)
    if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping):
        if ours != theirs:
            yield "numerical fingerprint: only one run has one"
        return
    for device in dict.fromkeys([*ours, *theirs]):
        one, other = (side.get(device) for side in (ours, theirs))
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            names = [str(name) for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]
            if names:
                yield f"the machines compute different bits ({device}): {', '.join(names)}"


def _named(here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for place in _BY_NAME:
        sides = [side for side in (_at(here, place), _at(there, place)) if isinstance(side, Mapping)]
        yield from ((*place, str(name)) for name in dict.fromkeys(name for side in sides for name in side))


def _evaluators(here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The evaluator of every surface that both runs have."""
    ours, theirs = (_at(side, ("stages",)) for side in (here, there))
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        yield from (("stages", str(name), "facts", "evaluator") for name in ours if name in theirs)


def _at(document: object, place: Sequence[str]) -> Any:
    for key in place:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def _word(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
