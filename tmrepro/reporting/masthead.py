"""The head of every page: data, number of images, time, machine, and the paper.

The content comes from provenance.json, which may be untrusted. Missing and invalid values are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

PAPER = "R. Wang and R. Thawonmas, Visualization of Loss Landscape from a True Minimum of ANN"
_PICTURES = {"cifar10", "images", "digits"}  # data sets whose inputs are images
_LONGEST = 1e9  # seconds: thirty years


def masthead(*provenances: Mapping[str, Any]) -> dict[str, str]:
    """Return what the provenances of runs say: term -> text, in the order of showing. Equal texts appear once."""
    lines: dict[str, list[str]] = {}
    for provenance in provenances:
        for term, words in _lines(provenance):
            lines.setdefault(term, []).append(words)
    told = {term: "; ".join(dict.fromkeys(filter(None, words))) for term, words in lines.items()}
    return {term: words for term, words in [*told.items(), ("Paper", PAPER)] if words}


def _lines(provenance: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    of_pictures = _word(provenance, "data", "name") in _PICTURES
    return (
        ("Data", _data(provenance)),
        ("Images" if of_pictures else "Inputs", _inputs(provenance)),
        ("Date", _date(provenance)),
        ("Machine", _machine(provenance)),
        ("Software", _software(provenance)),
    )


def _data(provenance: Mapping[str, Any]) -> str:
    name, source = _word(provenance, "data", "name"), _word(provenance, "data", "source")
    return f"{name} ({source})" if name and source and name != source else name or source


def _inputs(provenance: Mapping[str, Any]) -> str:
    train, held_out = _word(provenance, "data", "train"), _word(provenance, "data", "validation")
    classes = _value(provenance, "data", "classes")
    counts = [
        f"{train} for training" if train else "",
        f"{held_out} held out" if held_out else "",
        f"{len(classes)} classes" if isinstance(classes, list) and classes else "",
    ]
    return _joined(counts)


def _date(provenance: Mapping[str, Any]) -> str:
    started, seconds = _value(provenance, "started"), _value(provenance, "seconds")
    try:
        when = datetime.fromisoformat(started).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return ""
    day = f"{when:%Y-%m-%d %H:%M} UTC"
    if not isinstance(seconds, int | float) or not 0 <= seconds < _LONGEST:
        return day
    return f"{day}, took {timedelta(seconds=round(seconds))}" if seconds >= 60 else f"{day}, took {seconds:.0f} s"


def _machine(provenance: Mapping[str, Any]) -> str:
    platform = {
        name: _word(provenance, "platform", name)
        for name in ("processor", "cores_visible", "system", "machine", "device")
    }
    cores, device = platform["cores_visible"], platform["device"]
    system = " ".join(filter(None, (platform["system"], platform["machine"])))
    parts = [platform["processor"], f"{cores} cores" if cores else "", system]
    return _joined([*parts, f"computed on {device}" if device else ""])


def _software(provenance: Mapping[str, Any]) -> str:
    version, commit = _word(provenance, "code", "version"), _word(provenance, "code", "commit")
    python, torch = _word(provenance, "platform", "python"), _word(provenance, "packages", "torch")
    level = _word(provenance, "platform", "determinism", "reached")
    return _joined([
        f"tmrepro {version}{f' ({_short(commit)})' if commit else ''}" if version else "",
        f"Python {python}" if python else "",
        f"torch {torch}" if torch else "",
        f"determinism {level}" if level else "",
    ])  # fmt: skip


def _short(commit: str) -> str:
    name, mark, rest = commit.partition("-")
    return name[:12] + mark + rest


def _value(tree: object, *path: str) -> Any:
    for name in path:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def _word(tree: object, *path: str) -> str:
    found = _value(tree, *path)
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""


def _joined(parts: list[str]) -> str:
    return ", ".join(part for part in parts if part)
