"""What each command does, for Python as well: `tmrepro.run` and `tmrepro.verify` are two of them.

    runs             `tmrepro run`
    verdicts         `tmrepro verify`
    references       `tmrepro reference build`, `tmrepro verify --update`
    curvature        `tmrepro curvature`
    preparation      what all of them do first; targets: what they are given
    isolation/       a process of its own for them, where torch was loaded too early
    reproduction     `tmrepro reproduce`
    regenerate       `tmrepro inspect`: what a finished run says, drawn and written again
    starter          `tmrepro new`
    doctor           `tmrepro doctor`
    benchmark        `tmrepro bench`

Torch is loaded inside the functions, never by an import: determinism must be set before.
"""

from __future__ import annotations

from tmrepro.api.curvature import measure_curvature
from tmrepro.api.references import build_reference, update_reference
from tmrepro.api.runs import run
from tmrepro.api.verdicts import verify

__all__ = ["build_reference", "measure_curvature", "run", "update_reference", "verify"]
