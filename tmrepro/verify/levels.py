"""The levels of verification in their order, for a run folder and for a spec. Each level includes those before it."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from tmrepro.spec import Spec, first_difference
from tmrepro.verify.audit import check_audit
from tmrepro.verify.compare import compare_run, compare_weights
from tmrepro.verify.integrity import check_integrity
from tmrepro.verify.recompute import check_statistics
from tmrepro.verify.reference import Reference
from tmrepro.verify.verdict import Check, Level, Verdict
from tmrepro.view import RunView, open_run

LEVELS: tuple[Level, ...] = get_args(Level)

# Runs a spec into a folder; `tmrepro.api` supplies it, with the caller's device, data and progress.
Rerun = Callable[[Spec, Path], None]


def verify_run(
    run: Path,
    *,
    level: Level,
    reference: Reference | None,
    replicate: bool,
    share: float,
    seed: int | None,
    data_dir: Path | None,
    trust_code: bool,
    rerun: Rerun,
) -> Verdict:
    """Verify a run folder up to `level`, and hold it against `reference` if there is one."""
    depth = LEVELS.index(level)
    checks, notes = check_integrity(run), []
    if all(check.passed for check in checks) and depth >= LEVELS.index("statistics"):
        view = open_run(run, data_dir=data_dir, trust_code=trust_code)
        checks += check_statistics(view)
        if reference is not None:
            checks += _against_reference(view, reference, level="statistics", replicate=replicate)
            notes += _platform_notes(view, reference, checks)
        if depth >= LEVELS.index("audit") and not any(check.grade == "damaged" for check in checks):
            found, said = check_audit(view, share=share, seed=secrets.randbits(32) if seed is None else seed)
            checks, notes = checks + found, notes + said
        if depth >= LEVELS.index("rerun") and not any(check.grade == "damaged" for check in checks):
            checks += _rerun_and_compare(view, rerun, replicate=replicate)
    if reference is None and depth >= LEVELS.index("statistics"):
        notes.append("there is no reference for this spec: the run was held against itself only")
    return Verdict(str(run), level, _name(reference), tuple(checks), tuple(notes))


def verify_spec(
    path: Path, *, spec: Spec, reference: Reference, replicate: bool, data_dir: Path | None, rerun: Rerun
) -> Verdict:
    """Run `spec` in a fresh folder and hold the result against `reference`."""
    difference = _spec_check(spec, reference, level="rerun")
    if difference is not None and not replicate:
        return Verdict(str(path), "rerun", _name(reference), (difference,), ("nothing was run: the specs differ",))
    with tempfile.TemporaryDirectory(prefix="tmrepro-verify-") as folder:
        fresh = Path(folder) / "run"
        rerun(spec, fresh)
        checks = check_integrity(fresh)
        view = open_run(fresh, data_dir=data_dir, trust_code=True)  # the caller's own spec, just run
        checks += check_statistics(view)
        checks += _against_reference(view, reference, level="rerun", replicate=replicate)
        notes = _platform_notes(view, reference, checks)
    return Verdict(str(path), "rerun", _name(reference), tuple(checks), tuple(notes))


def _against_reference(view: RunView, reference: Reference, *, level: Level, replicate: bool) -> list[Check]:
    difference = _spec_check(view.spec, reference, level=level)
    if difference is not None and not replicate:
        return [difference]
    return compare_run(
        view,
        reference.folder,
        level=level,
        statistics=reference.statistics,
        band=reference.band,
        replicate=replicate,
    )


def _rerun_and_compare(view: RunView, rerun: Rerun, *, replicate: bool) -> list[Check]:
    with tempfile.TemporaryDirectory(prefix="tmrepro-verify-") as folder:
        fresh = Path(folder) / "run"
        rerun(view.spec, fresh)
        statistics: dict[str, Any] = dict(open_run(fresh).statistics)
        checks = [] if replicate else compare_weights(view, fresh, level="rerun")
        return checks + compare_run(
            view, fresh, level="rerun", statistics=statistics, band=lambda *_: None, replicate=replicate
        )


def _spec_check(spec: Spec, reference: Reference, *, level: Level) -> Check | None:
    difference = first_difference(spec, reference.spec)
    if difference is None:
        return None
    return Check(level, "spec.yaml", "different", f"not the reference's spec: {difference}")


def _platform_notes(view: RunView, reference: Reference, checks: list[Check]) -> list[str]:
    """Whether the bits had to agree, and whether they do: a tolerance must not hide that they don't."""
    ours, theirs = view.provenance.get("platform", {}), reference.provenance.get("platform", {})
    differing = [
        f"{name}: {ours.get(name)}, reference {theirs.get(name)}"
        for name in ("processor", "device", "determinism")
        if ours.get(name) != theirs.get(name)
    ]
    packages = view.provenance.get("packages", {})
    differing += [
        f"{name} {version}, reference {reference.provenance.get('packages', {}).get(name)}"
        for name, version in packages.items()
        if version != reference.provenance.get("packages", {}).get(name)
    ]
    identical = all(check.grade == "identical" for check in checks)
    if identical:
        return ["every bit that was compared is the same"]
    if not differing:
        return [
            "NOT every bit is the same, though platform and packages are the reference's: on one platform they must be"
        ]
    return ["not every bit is the same; the platforms differ in " + "; ".join(differing)]


def _name(reference: Reference | None) -> str | None:
    return None if reference is None else reference.folder.name
