"""The levels above `integrity`, for a run with valid files: recompute, compare, audit, rerun."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

from tmrepro.errors import ArtefactError, DamagedError
from tmrepro.runner.context import computing
from tmrepro.runner.execute import choose_device
from tmrepro.runner.view import RunView, open_run
from tmrepro.spec import CustomDataSpec, CustomModel, Spec, first_difference
from tmrepro.spec.seeds import first_difference_beyond_seeds
from tmrepro.store.run_files import SPEC
from tmrepro.verification.code import CODE, check_code, models_of_other_code
from tmrepro.verification.comparison import Comparison, Side
from tmrepro.verification.level_audit import check_audit
from tmrepro.verification.level_statistics import check_statistics
from tmrepro.verification.options import Options, Rerun
from tmrepro.verification.platforms import Platforms, compare_platforms, remarks_on_bits, this_platform
from tmrepro.verification.reference import Reference
from tmrepro.verification.verdict import Check, Level, Remarks, Sides


def deepen(
    run: Path,
    *,
    level: Level,
    reference: Reference | None,
    replicate: bool,
    options: Options,
    rerun: Rerun,
    pdf: bool = True,
) -> tuple[list[Check], Remarks]:
    """Return the checks of `statistics` and, depending on `level`, of `audit` and `rerun`, with `reference` if there is one.

    A folder without `pdf` is itself a reference, with level `statistics`.

    Raises:
        UsageError: a `custom` model would have to be imported, and `trust_code` does not allow it.
    """
    view = open_run(run, data_dir=options.data_dir, trust_code=options.trust_code)
    code: list[Check] = []
    if level in {"audit", "rerun"}:
        _refuse_untrusted_code(view)
        code, _ = check_code(view)  # the first check, because other code gives other numbers
    here = this_platform(view.spec, choose_device(options.device))
    checks, remarks = check_statistics(view, pdf=pdf)
    checks = code + checks
    # Statistics and figures are always computed on the CPU.
    remarks += remarks_on_bits(checks, compare_platforms(view.provenance, here), what="when recomputed here")
    if reference is not None:
        found, said = against_reference(view, reference, level="statistics", replicate=replicate)
        checks, remarks = checks + found, remarks + said
    if level in {"audit", "rerun"} and not _damaged(checks):
        found, said = _audit(view, options)
        checks, remarks = checks + found, remarks + said
    if level == "rerun" and not _damaged(checks):
        found, said = _run_again(view, rerun, reference=reference)
        checks, remarks = checks + found, remarks + said
    return checks, remarks + Remarks(sides=Sides(view.provenance))


def examine_fresh(run: Path, *, reference: Reference, replicate: bool, options: Options) -> tuple[list[Check], Remarks]:
    """Return the checks of a new run of the caller's own spec. Its code may therefore be imported."""
    view = open_run(run, data_dir=options.data_dir, trust_code=True)
    checks, remarks = check_statistics(view)
    found, said = _audit(view, options)
    checks, remarks = checks + found, remarks + said
    found, said = against_reference(view, reference, level="rerun", replicate=replicate)
    return checks + found, remarks + said


def against_reference(
    view: RunView, reference: Reference, *, level: Level, replicate: bool
) -> tuple[list[Check], Remarks]:
    """Compare a run with a reference. If the specs differ, compare only the specs."""
    difference = spec_difference(view.spec, reference, level=level, replicate=replicate)
    if difference is not None:
        return [difference], Remarks(sides=Sides(view.provenance, reference.provenance, "reference"))
    if replicate:
        require_bands(reference)
    side = Side(reference.folder, reference.statistics, reference.provenance, reference.bands, "reference")
    comparison = Comparison(view, side, level=level, replicate=replicate)
    checks = comparison.checks()
    if replicate:
        n, coverage = reference.bands.n, reference.bands.coverage
        said = f"another seed: bands of {n} replicates; a correct run falls inside all of them with probability {coverage:.0%}"
        return checks, comparison.remarks + Remarks(notes=(said,))
    return checks, comparison.remarks + remarks_on_bits(checks, comparison.platforms, what="to the reference")


def spec_difference(spec: Spec, reference: Reference, *, level: Level, replicate: bool) -> Check | None:
    """Return the first field in which `spec` differs from that of the reference; with `replicate`, ignore seeds."""
    found = (first_difference_beyond_seeds if replicate else first_difference)(spec, reference.spec)
    if found is None:
        return None
    return Check(
        level, SPEC, "different", f"not the reference's spec: {found} (here: verified; there: reference)", "reference"
    )


def require_bands(reference: Reference) -> None:
    """Raise DamagedError unless `reference` has bands to compare another seed with.

    Raises:
        DamagedError: the reference was built from one run.
    """
    if not reference.bands.measured:
        raise DamagedError(
            f"reference {reference.folder}: has no bands, so a run of another seed cannot be compared with it; "
            "measure them with 'tmrepro reference build SPEC --replicates 20'"
        )


def _audit(view: RunView, options: Options) -> tuple[list[Check], Remarks]:
    device = choose_device(options.device)
    try:
        _ = view.dataset
    except ArtefactError as error:
        return [Check("audit", "data", "damaged", str(error))], Remarks()
    platforms = compare_platforms(view.provenance, this_platform(view.spec, device))
    changed = models_of_other_code(view)
    platforms = Platforms((*platforms.differences, *check_code(view)[1]))
    with computing("audit"):
        checks, remarks = check_audit(
            view,
            share=options.share,
            seed=secrets.randbits(32) if options.seed is None else options.seed,
            device=device,
            platforms=platforms,
            reporter=options.reporter,
            without=changed,
        )
    if changed:
        said = f"not audited, because their code has changed: {', '.join(sorted(changed))}"
        remarks += Remarks(warnings=(said,))
    return checks, remarks + remarks_on_bits(checks, platforms, what="in the audit")


def _run_again(view: RunView, rerun: Rerun, *, reference: Reference | None) -> tuple[list[Check], Remarks]:
    with tempfile.TemporaryDirectory(prefix="tmrepro-verify-") as folder:
        fresh = Path(folder) / "run"
        rerun(view.spec, fresh, view.data_place)
        again = open_run(fresh)
        same_spec = reference is not None and first_difference(view.spec, reference.spec) is None
        bands = reference.bands if reference is not None and same_spec else None
        side = Side(fresh, again.statistics, again.provenance, bands, "rerun")
        comparison = Comparison(view, side, level="rerun", replicate=False)
        checks = sorted([*comparison.weights(), *comparison.checks()], key=lambda check: check.subject != CODE)
        return checks, comparison.remarks + remarks_on_bits(checks, comparison.platforms, what="as the rerun")


def _refuse_untrusted_code(view: RunView) -> None:
    """Raise UsageError if custom models or data may not be imported, before anything is computed."""
    if isinstance(view.spec.data, CustomDataSpec):
        view.require_trust(view.spec.data)
    for model in view.spec.models:
        if isinstance(model, CustomModel):
            view.require_trust(model)


def _damaged(checks: list[Check]) -> bool:
    return any(check.grade == "damaged" for check in checks)
