"""What each command does, for Python as well: `tmrepro.run` and `tmrepro.verify` are two of them.

    commands         run, verify, build_reference, update_reference, measure_curvature
    isolation/       a process of its own for them, where torch was loaded too early
    reproduction     `tmrepro reproduce`
    regenerate       `tmrepro inspect`: what a finished run says, drawn and written again
    starter          `tmrepro new`
    doctor           `tmrepro doctor`
    benchmark        `tmrepro bench`

Torch is loaded inside the functions, never by an import: determinism must be set before.
"""

from __future__ import annotations

from tmrepro.api.commands import build_reference, measure_curvature, run, update_reference, verify

__all__ = ["build_reference", "measure_curvature", "run", "update_reference", "verify"]
