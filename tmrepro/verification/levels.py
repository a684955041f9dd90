"""Runs the levels of verification in order, for a run folder and for a spec. Each level includes those before it.

`integrity` needs no torch. Modules that need torch are imported only for higher levels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from tmrepro.errors import DamagedError
from tmrepro.spec import Spec
from tmrepro.verification.folders import kind_of
from tmrepro.verification.level_integrity import check_integrity, finding_check, first_findings, litter_remarks
from tmrepro.verification.options import Options, Rerun
from tmrepro.verification.reference import Reference, reference_findings
from tmrepro.verification.verdict import Check, Level, Remarks, Verdict

A_REFERENCE = (
    "this is a reference without weights, so its surfaces cannot be audited; "
    "'tmrepro verify {0}/spec.yaml --reference {0}' reruns its spec"
)
LEVELS: tuple[Level, ...] = get_args(Level)

NO_REFERENCE = "there is no reference for this spec, so the run was compared with itself only"


def open_reference(folder: Path) -> Reference | tuple[Check, ...]:
    """Return the reference in `folder`, or its damage. It is checked before anything is compared with it.

    Raises:
        DamagedError: it is missing, or the files in its manifest are not those of a reference.
    """
    findings = reference_findings(folder)
    if not findings:
        return Reference(folder)
    checks = [finding_check(finding, folder=f"reference {folder.name}/") for finding in findings]
    return tuple(first_findings(checks))


def verify_run(
    run: Path,
    *,
    level: Level,
    reference: Reference | None,
    replicate: bool,
    options: Options,
    rerun: Rerun,
) -> Verdict:
    """Verify a folder according to its kind, up to `level`, and compare it with `reference` if there is one."""
    kind = kind_of(run)
    if kind == "surface":
        from tmrepro.verification.kept_surface import check_kept

        checks, remarks = check_kept(run, level=level)
        return _verdict(run, level, None, checks, remarks, replicate=False)
    checks = check_integrity(run, reference=kind == "reference")
    remarks = litter_remarks(run, checks)
    if level != "integrity":
        if all(check.passed for check in checks):
            from tmrepro.verification.higher_levels import deepen

            found, remarks = deepen(
                run,
                level=level,
                reference=reference,
                replicate=replicate,
                options=options,
                rerun=rerun,
                pdf=kind != "reference",
            )
            checks += found
        if kind == "reference":
            remarks += Remarks(notes=(A_REFERENCE.format(run),))
        elif reference is None:
            remarks += Remarks(notes=(NO_REFERENCE,))
    return _verdict(run, level, reference, checks, remarks, replicate=replicate)


def verify_spec(
    path: Path, *, spec: Spec, reference: Reference, replicate: bool, options: Options, rerun: Rerun
) -> Verdict:
    """Run `spec` in a fresh folder, and compare the result with `reference`."""
    from tmrepro.verification.higher_levels import examine_fresh, require_bands, spec_difference

    difference = spec_difference(spec, reference, level="rerun", replicate=replicate)
    if difference is not None:
        remarks = Remarks(notes=("nothing was run: the specs differ",))
        return _verdict(path, "rerun", reference, [difference], remarks, replicate=replicate)
    if replicate:
        require_bands(reference)
    with tempfile.TemporaryDirectory(prefix="tmrepro-verify-") as folder:
        fresh = Path(folder) / "run"
        rerun(spec, fresh, options.data_dir)
        checks = check_integrity(fresh)
        if any(not check.passed for check in checks):
            raise DamagedError(f"the new run is damaged: {checks[-1].subject}: {checks[-1].detail}")
        found, remarks = examine_fresh(fresh, reference=reference, replicate=replicate, options=options)
    return _verdict(path, "rerun", reference, checks + found, remarks, replicate=replicate)


def _verdict(
    subject: Path,
    level: Level,
    reference: Reference | None,
    checks: Sequence[Check],
    remarks: Remarks,
    *,
    replicate: bool,
) -> Verdict:
    name = None if reference is None else reference.folder.name
    return Verdict(str(subject), level, name, tuple(checks), remarks, replicate)
