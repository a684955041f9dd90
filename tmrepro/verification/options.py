"""The options of a verification. They do not change what is true of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tmrepro.reporting.progress import Reporter
from tmrepro.spec import Spec

Rerun = Callable[[Spec, Path, Path | None], None]
"""Runs a spec into a folder. `tmrepro.api` supplies this function, with the caller's data and progress."""


@dataclass(frozen=True)
class Options:
    """`share` of each surface's points and `seed` of their sample (None: random); `device` of the audit."""

    share: float
    seed: int | None
    device: str
    data_dir: Path | None
    trust_code: bool
    reporter: Reporter
