"""What does not pass: in a verdict, in an audit alone, and in a comparison alone."""

from __future__ import annotations

from pathlib import Path

import torch

import tmrepro
from tmrepro.reporting.progress import Silent
from tmrepro.verification import Check, Verdict
from tmrepro.verification.comparison import Comparison, Side
from tmrepro.verification.level_audit import check_audit
from tmrepro.verification.platforms import Platforms
from tmrepro.verification.reference import Reference

HERE = Platforms(())


def failures(verdict: Verdict) -> dict[str, tuple[str, str]]:
    """Return what did not pass in a verdict: subject -> (level, grade)."""
    return {check.subject: (check.level, check.grade) for check in verdict.checks if not check.passed}


def audit(run: Path, *, share: float = 1.0, seed: int = 0, platforms: Platforms = HERE) -> list[Check]:
    """Audit all points, and nothing else. Return the checks that do not pass."""
    view = tmrepro.open_run(run)
    checks, _ = check_audit(
        view, share=share, seed=seed, device=torch.device("cpu"), platforms=platforms, reporter=Silent()
    )
    return [check for check in checks if not check.passed]


def compare(run: Path, reference: Path, *, replicate: bool = False) -> tuple[dict[str, Check], Comparison]:
    """Compare a run with a reference, without the run's own integrity. Return subject -> check, and the comparison."""
    found = Reference(reference)
    side = Side(found.folder, found.statistics, found.provenance, found.bands, "reference")
    comparison = Comparison(tmrepro.open_run(run), side, level="statistics", replicate=replicate)
    return {check.subject: check for check in comparison.checks()}, comparison
