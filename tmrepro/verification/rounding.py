"""Tolerances between platforms for the points of a surface, by precision.

Float32 and float64 have the tolerances of grades.py. For a lower precision, the run measured and recorded its own error. That
record may be forged along with the surface, so at most LARGEST of it is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tmrepro.spec import SurfaceSpec
from tmrepro.surface.precision import FLOOR, LOWER
from tmrepro.verification.grades import ABSOLUTE, RELATIVE, as_number

LARGEST = 0.05


@dataclass(frozen=True)
class Rounding:
    """Tolerances of losses, |d| <= relative |S| + absolute, and the additional tolerance of accuracies beyond float32's."""

    relative: float = RELATIVE
    absolute: float = ABSOLUTE
    accuracy: float = 0.0


def rounding_between(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], *, surface: SurfaceSpec, stage: str
) -> Rounding:
    """Return the tolerance between two sides, given their provenance: both errors added. `stage` is surface/SURFACE/MODEL."""
    if surface.precision not in LOWER:
        return Rounding()
    loss, accuracy = (sum(_recorded(side, stage, name) for side in (ours, theirs)) for name in ("loss", "accuracy"))
    return Rounding(max(RELATIVE, loss), ABSOLUTE + FLOOR * loss, accuracy)


def _recorded(provenance: Mapping[str, Any], stage: str, name: str) -> float:
    found: object = provenance
    for key in ("stages", stage, "facts", "precision_error", name):
        found = found.get(key) if isinstance(found, Mapping) else None
    error = as_number(found)
    return min(error, LARGEST) if error is not None and error >= 0 else 0.0
