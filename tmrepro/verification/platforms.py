"""Decides whether two computations should be bitwise identical (on one platform) or equal within rounding (on two).

A tolerance must not hide a broken promise of identical bits. So if a result is only `equal` or `consistent`, this module
decides whether that was expected. If not, the verdict has a warning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tmrepro.comparison.provenance import PLACES, different_operations, value_at
from tmrepro.numerics.determinism import Determinism
from tmrepro.runner.provenance import package_versions, platform_facts
from tmrepro.spec import Spec
from tmrepro.verification.code import other_distributions
from tmrepro.verification.verdict import Check, Remarks

# Packages that compute numbers or draw pictures. A new version of pydantic, for example, changes no bit.
COMPUTING = ("tmrepro", "torch", "torchvision", "numpy", "scipy", "gudhi", "scikit-learn")
DRAWING = ("tmrepro", "numpy", "matplotlib", "pillow")
DRAWING_OPERATIONS = ("NumPy", "C library")  # of a fingerprint: used by matplotlib and the statistics
BY_RULE = "by rule"  # recorded in a surface's stage if no evaluator was forced


@dataclass(frozen=True)
class Platforms:
    """The differences of two platforms, as text. Without differences, results should be bitwise identical (`exact`)."""

    differences: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether the results of both sides should be bitwise identical."""
        return not self.differences


def compare_platforms(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Platforms:
    """Compare two provenance documents.

    `portable` promises identical bits on any processor, `machine` on this one, `fast` on none. The promise depends on the
    names of packages and processors. If the numerical fingerprints differ, the promise cannot be kept.
    """
    levels = [value_at(side, ("platform", "determinism", "reached")) for side in (ours, theirs)]
    if "fast" in levels:
        return Platforms(("determinism: fast is not bit-reproducible",))
    forced = [_forced_evaluators(side) for side in (ours, theirs)]
    evaluators = [f"evaluator forced: {', '.join(sorted(set().union(*forced)))}"] if any(forced) else []
    breaking = {"all"} if levels == ["portable", "portable"] else {"all", "machine"}
    found = [*(place.path for place in PLACES if place.breaks in breaking), *(("packages", name) for name in COMPUTING)]
    differing = (*_differing(ours, theirs, found), *other_distributions(ours, theirs))
    return Platforms((*evaluators, *differing, *_computing_otherwise(ours, theirs)))


def drawn_alike(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Platforms:
    """Compare only what the bytes of a figure depend on. If the position of a tick is rounded differently, a pixel changes."""
    found = [("packages", name) for name in DRAWING]
    return Platforms((*_differing(ours, theirs, found), *_computing_otherwise(ours, theirs, only=DRAWING_OPERATIONS)))


def this_platform(spec: Spec, device: torch.device) -> dict[str, Any]:
    """Return what a run of `spec` on `device` would record about this machine."""
    determinism = Determinism(spec.compute.determinism, spec.compute.threads)
    return {"packages": package_versions(), "platform": platform_facts(device, determinism=determinism)}


def remarks_on_bits(checks: Sequence[Check], platforms: Platforms, *, what: str) -> Remarks:
    """Report passed checks that are not bitwise identical, and whether they should be. `what` ends that sentence."""
    loose = [check for check in checks if check.grade in {"equal", "consistent"}]
    if not loose:
        return Remarks()
    subjects = ", ".join(check.subject for check in loose[:3]) + (", ..." if len(loose) > 3 else "")
    if platforms.exact:
        said = f"NOT bitwise identical {what}, although platform, packages and determinism level promise it: {subjects}"
        return Remarks(warnings=(said,))
    return Remarks(
        notes=(f"not bitwise identical {what} ({subjects}); these differ: {'; '.join(platforms.differences)}",)
    )


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any], places: Sequence[tuple[str, ...]]) -> list[str]:
    found = []
    for place in places:
        here, there = value_at(ours, place), value_at(theirs, place)
        if here != there:
            found.append(f"{' '.join(place[1:])} {here}, there {there}")
    return found


def _computing_otherwise(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], *, only: tuple[str, ...] = ("",)
) -> list[str]:
    """Return the differences of the numerical fingerprints, if both sides have one, for names that begin with one of `only`."""
    different = [
        operation if device == "cpu" else f"{operation} ({device})"
        for device, operations in different_operations(ours, theirs).items()
        for operation in operations
        if operation.startswith(only)
    ]
    return [f"other bits of {', '.join(different)}"] if different else []


def _forced_evaluators(provenance: Mapping[str, Any]) -> set[str]:
    """Return the evaluators that the user chose instead of the rule. Such a run rounds like another platform."""
    stages = provenance.get("stages")
    found = [
        value_at(stage, ("inputs", "evaluator")) for stage in (stages.values() if isinstance(stages, Mapping) else ())
    ]
    return {name for name in found if isinstance(name, str) and name != BY_RULE}
