"""`tmrepro reference build` and `verify --update`, for Python."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tmrepro.api.isolation import isolated_if_needed
from tmrepro.api.preparation import DEFAULT_RUNS, code_folder, data_place, prepare_for
from tmrepro.api.runs import run_spec
from tmrepro.api.targets import kind_of_target, level_for, reference_for, spec_of
from tmrepro.api.verdicts import verify
from tmrepro.errors import UsageError
from tmrepro.reporting.progress import Reporter, default_reporter
from tmrepro.spec import Spec, load_spec
from tmrepro.spec.seeds import with_seeds
from tmrepro.spec.shipped import belongs_to_the_package, find_spec, own_reference
from tmrepro.spec.user_paths import user_path
from tmrepro.usercode import importable_from

if TYPE_CHECKING:
    from tmrepro.verification.update import Update

SHOWN_BANDS = 12


def update_reference(
    target: Path | str,
    *,
    confirm: Callable[[Update], bool],
    reference: Path | str | None = None,
    share: float = 0.01,
    seed: int | None = None,
    data_dir: Path | str | None = None,
    device: str = "auto",
    workers: int = 1,
    trust_code: bool = False,
    reporter: Reporter | None = None,
) -> tuple[Update, bool]:
    """Replace a reference by a run, if the run passes its audit and `confirm` accepts the changes.

    Args:
        target: a run folder, audited first; or a spec, which is run in a fresh folder.
        confirm: receives the changes and decides. It is not called if the run is refused or nothing changes.
        reference: the reference folder to replace. The default is the one that `verify` would use. The references of an
            installed package cannot be replaced.
        share: as for `verify`.
        seed: as for `verify`.
        data_dir: as for `run`.
        device: as for `run`.
        workers: as for `run`.
        trust_code: as for `verify`.
        reporter: as for `run`.

    Returns:
        The proposed update, and whether the reference was written.

    Raises:
        UsageError, ArtefactError, ComputeError: as for `run` and `verify`.
    """
    path = find_spec(target)
    level_for(None, path)
    if kind_of_target(path) in {"reference", "surface"}:
        raise UsageError(f"{path} is not a run: only a run, or a spec, can become a reference")
    spec = spec_of(path)
    to = reference_for(path, spec, given=reference, needed=True)
    if to is not None and belongs_to_the_package(to):
        raise UsageError(
            f"{to} belongs to the installed package and stays as it is; 'tmrepro reference build {target}' makes one of your "
            "own, in ./reference, or name another with --reference"
        )
    from tmrepro.verification.reference import reference_findings
    from tmrepro.verification.update import accept_update, propose_update

    if to is not None:
        reference_findings(to)  # raises where there is none, before hours are spent on a run
    with tempfile.TemporaryDirectory(prefix="tmrepro-update-") as folder:
        fresh = path if path.is_dir() else Path(folder) / "run"
        if spec is not None and fresh is not path:
            run_spec(spec, path=path, out=fresh, data_dir=data_dir, device=device, workers=workers, reporter=reporter)
            trust_code = True  # the caller's own spec, just run
            data_dir = data_place(spec, home=path.parent, given=data_dir)
        with importable_from(None if spec is None or path.is_dir() else code_folder(spec, path)):
            verdict = verify(
                fresh,
                reference=to,
                share=share,
                seed=seed,
                data_dir=data_dir,
                device=device,
                trust_code=trust_code,
                reporter=reporter,
            )
        update = propose_update(fresh, to=to, verdict=replace(verdict, subject=str(path)))
        accepted = update.refusal is None and bool(update.changes) and confirm(update)
        if accepted:
            accept_update(update)
    return update, accepted


@isolated_if_needed
def build_reference(
    spec: Spec | Path | str,
    *,
    to: Path | str | None = None,
    replicates: int = 1,
    runs: Path | str | None = None,
    data_dir: Path | str | None = None,
    device: str = "auto",
    workers: int = 1,
    reporter: Reporter | None = None,
) -> Path:
    """Run `spec` and its replicates, and store a reference for later verifications. Return its folder.

    Args:
        spec: as for `run`.
        to: the reference folder. The default is ./reference/NAME.
        replicates: number of runs from which bands are measured, including that of the spec itself. With 1, the bands are
            measured from the replicates inside the run (the spec's replicates.training); there are none if that is 1 too.
        runs: folder of the runs. A build that was interrupted continues there.
        data_dir: as for `run`.
        device: as for `run`.
        workers: as for `run`.
        reporter: as for `run`.

    Raises:
        UsageError, ArtefactError, ComputeError: as for `run`.
    """
    path = None if isinstance(spec, Spec) else find_spec(spec)
    resolved = spec if isinstance(spec, Spec) else load_spec(find_spec(spec))
    target = user_path(to) if to is not None else own_reference(resolved.name)
    if replicates < 1:
        raise UsageError(f"replicates must be at least 1 (got {replicates})")
    from tmrepro.verification.bands import Replicate, own_replicates
    from tmrepro.verification.reference import check_target, write_reference
    from tmrepro.verification.scales import JUDGES_NOTHING

    check_target(target)
    prepare_for(resolved)
    home = user_path(runs) if runs is not None else DEFAULT_RUNS / f"reference-{resolved.name}"
    specs = [with_seeds(resolved, replicate=replicate) for replicate in range(replicates)]
    found = [
        run_spec(
            again,
            path=path,
            out=home / str(number),
            data_dir=data_dir,
            device=device,
            workers=workers,
            reporter=reporter,
        )
        for number, again in enumerate(specs)
    ]
    measured = [Replicate(result.statistics, result.minima) for result in found]
    if replicates == 1:
        measured = own_replicates(resolved, measured[0])
    bands = write_reference(found[0].run, to=target, replicates=measured)
    if idle := bands.judging_nothing():
        more = f" and {len(idle) - SHOWN_BANDS} more, marked in bands.json" if len(idle) > SHOWN_BANDS else ""
        (reporter or default_reporter()).note(
            f"{len(idle)} of {bands.comparisons} bands are so wide that they judge nothing ({JUDGES_NOTHING}): "
            f"{', '.join(idle[:SHOWN_BANDS])}{more}"
        )
    return target
