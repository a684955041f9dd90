"""`tmrepro.verify`: the command of the same name, for Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tmrepro.api.isolation import isolated_if_needed
from tmrepro.api.preparation import code_folder, data_place, prepare_for
from tmrepro.api.runs import run_spec
from tmrepro.api.targets import kind_of_target, level_for, reference_for, say_hidden_reference, spec_of
from tmrepro.errors import FieldError, UsageError
from tmrepro.numerics.determinism import apply
from tmrepro.reporting.progress import Reporter, default_reporter
from tmrepro.spec import Spec, blame
from tmrepro.spec.shipped import find_spec
from tmrepro.spec.user_paths import user_path
from tmrepro.usercode import importable_from

if TYPE_CHECKING:
    from tmrepro.verification import Verdict


@isolated_if_needed
def verify(
    target: Path | str | None = None,
    *,
    level: str | None = None,
    reference: Path | str | None = None,
    replicate: bool = False,
    share: float = 0.01,
    seed: int | None = None,
    data_dir: Path | str | None = None,
    device: str = "auto",
    workers: int = 1,
    trust_code: bool = False,
    reporter: Reporter | None = None,
) -> Verdict:
    """Verify a run folder, a reference, a kept surface or a spec. A difference or damage is in the verdict, not an error.

    Args:
        target: a run folder (default level: audit), a spec (rerun), or a reference or a folder of `loss_surface` (both
            statistics). The default is spec/quickstart.yaml.
        level: integrity, statistics, audit or rerun; each includes the ones before it.
        reference: a reference folder. The default is ./reference/NAME, then the shipped one with the spec's name, if there is
            one. If both exist, the verdict says that the first was used.
        replicate: allow other seeds than the reference's, and check that the results are inside its bands.
        share: share of each surface's points that are audited, at least 16 points.
        seed: seed of the audit's sample. By default it is drawn and reported in the verdict.
        data_dir: as for `run`.
        device: as for `run`; used by audit and rerun.
        workers: as for `run`; used by rerun.
        trust_code: allow the factories that a run's spec names (of a `custom` model or of data) to be imported, from PYTHONPATH
            or the working directory.
        reporter: as for `run`; receives the progress of an audit and a rerun.

    Levels audit and rerun compute in a new process under the same conditions as `run`.

    Raises:
        UsageError: an argument is invalid, the target is not a spec, or code is not trusted.
        ArtefactError: there is nothing at `target`, or no reference although one is needed.
        ComputeError: the rerun failed.
    """
    path = find_spec(target if target is not None else "spec/quickstart.yaml")
    wanted = level_for(level, path)
    kind = kind_of_target(path)
    if kind == "surface" and (reference is not None or replicate):
        raise UsageError(f"{path} is a surface kept by tmrepro.loss_surface: there is no reference to compare it with")
    if kind == "reference" and replicate and reference is None:
        raise UsageError(f"{path} is a reference itself: --replicate needs another, with --reference")
    if not 0 < share <= 1:
        raise UsageError(f"share must be above 0 and at most 1 (got {share})")
    if seed is not None and not 0 <= seed < 2**64:
        raise UsageError(f"seed must be at least 0 and less than 2^64 (got {seed})")
    spec = spec_of(path)
    from tmrepro.verification import Options, Verdict, open_reference, verify_run, verify_spec

    folder = reference_for(path, spec, given=reference, needed=replicate)
    notes = say_hidden_reference(spec, folder, given=reference)
    found = open_reference(folder) if folder is not None else None
    if isinstance(found, tuple):
        return Verdict(str(path), wanted, folder.name if folder else None, found, notes)
    if spec is not None and wanted in {"audit", "rerun"}:
        apply(prepare_for(spec))

    place = user_path(data_dir) if data_dir is not None else None
    if spec is not None and not path.is_dir():
        place = data_place(spec, home=path.parent, given=data_dir)

    def rerun(again: Spec, folder: Path, data_dir: Path | None) -> None:
        run_spec(again, path=None, out=folder, data_dir=data_dir, device=device, workers=workers, reporter=reporter)

    options = Options(
        share=share,
        seed=seed,
        device=device,
        data_dir=place,
        trust_code=trust_code,
        reporter=reporter or default_reporter(),
    )
    if path.is_dir():
        with importable_from(Path() if trust_code else None):
            verdict = verify_run(path, level=wanted, reference=found, replicate=replicate, options=options, rerun=rerun)
        return replace(verdict, remarks=verdict.remarks + notes)
    assert spec is not None  # noqa: S101 - load_spec raises
    assert found is not None  # noqa: S101 - so does open_reference
    try:
        with importable_from(code_folder(spec, path)):
            verdict = verify_spec(path, spec=spec, reference=found, replicate=replicate, options=options, rerun=rerun)
    except FieldError as error:
        raise blame(path, error) from error
    return replace(verdict, remarks=verdict.remarks + notes)
