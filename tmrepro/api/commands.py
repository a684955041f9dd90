"""`tmrepro.run` and `tmrepro.verify`: the commands of the same names, for Python. Torch loads inside, never before."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from tmrepro.api.isolation import isolated_if_needed
from tmrepro.api.isolation.factories import require_importable
from tmrepro.errors import ArtefactError, FieldError, LoadedTooEarlyError, UsageError
from tmrepro.numerics.determinism import Determinism, apply, prepare
from tmrepro.reporting.progress import Reporter, default_reporter
from tmrepro.runner.cluster import Link
from tmrepro.spec import CustomDataSpec, CustomModel, Spec, blame, load_spec
from tmrepro.spec.seeds import with_seeds
from tmrepro.spec.shipped import belongs_to_the_package, find_spec, own_reference, reference_folder, shipped_reference
from tmrepro.spec.user_paths import require_working_folder, user_path
from tmrepro.usercode import importable_from

if TYPE_CHECKING:
    from tmrepro.runner.execute import RunResult
    from tmrepro.store.curvature import CurvatureDocument
    from tmrepro.verification import Verdict
    from tmrepro.verification.folders import Kind
    from tmrepro.verification.update import Update
    from tmrepro.verification.verdict import Remarks

DEFAULT_RUNS = Path("runs")
SHOWN_BANDS = 12

Level = Literal["integrity", "statistics", "audit", "rerun"]


@isolated_if_needed
def run(
    spec: Spec | Path | str,
    *,
    out: Path | str | None = None,
    data_dir: Path | str | None = None,
    download: bool = False,
    device: str = "auto",
    workers: int = 1,
    scheduler: str | None = None,
    scheduler_file: Path | str | None = None,
    tls_ca: Path | str | None = None,
    tls_cert: Path | str | None = None,
    tls_key: Path | str | None = None,
    reuse: Path | str | Sequence[Path | str] = (),
    only: Sequence[str] = (),
    evaluator: str | None = None,
    preview: bool = False,
    reporter: Reporter | None = None,
) -> RunResult:
    """Run a spec, continuing what its folder holds.

    Args:
        spec: a spec, or the path of one. `spec/quickstart.yaml` and the other shipped ones are found anywhere.
        out: the run folder; runs/NAME by default.
        data_dir: where CIFAR-10, the image folder or the file of arrays is; by default the environment variable TMREPRO_DATA,
            then what the spec says, relative to its file. Modules of factories are found beside that file, or on PYTHONPATH.
        download: CIFAR-10 may be downloaded into `data_dir`.
        device: auto, cpu or cuda.
        workers: processes that train and evaluate, each with compute.threads threads. The bytes don't depend on it.
        scheduler: address of a Dask scheduler whose workers (`tmrepro worker`) compute instead. Only this process writes `out`.
        scheduler_file: the file that the scheduler wrote (`dask scheduler --scheduler-file`), instead of its address.
        tls_ca: certificate of the authority; with `tls_cert` and `tls_key` needed for every scheduler that is not on this
            machine.
        tls_cert: certificate of this process.
        tls_key: its key.
        reuse: other run folders, from which stages with the same key are taken over after their bytes are checked.
        only: compute the training, minimum and surfaces of these trained networks (cnn, cnn.r1) alone, and leave the folder
            unfinished. Folders of parts, made side by side or on several machines, make one run with `reuse`.
        evaluator: force an evaluator by name instead of by rule.
        preview: draw RUN/.work/preview/SURFACE.MODEL.png as soon as there is something to see of a surface; gone when the
            run is complete.
        reporter: is told what happens; lines in a notebook, else silent by default (tmrepro.reporting.progress: Lines, Silent).

    Where torch was already loaded with other settings than `portable` determinism needs, as in a notebook, the run is computed
    by a process of its own: a fresh Python that finds modules where this one does (sys.path). Progress, output, result and
    errors are the same; an interrupt ends it, and the folder continues.

    Raises:
        UsageError: a wrong spec or argument; a factory that is defined in the notebook itself.
        ArtefactError: data or files of the run are missing or damaged.
        ComputeError: out of memory, diverged, collapsed, disk full, no scheduler. The same call continues the run.
    """
    path = None if isinstance(spec, Spec) else find_spec(spec)
    return _run(
        spec if isinstance(spec, Spec) else load_spec(find_spec(spec)),
        path=path,
        out=user_path(out) if out is not None else None,
        data_dir=data_dir,
        download=download,
        device=device,
        workers=workers,
        link=_link(scheduler, scheduler_file, tls_ca, tls_cert, tls_key),
        reuse=[user_path(folder) for folder in ([reuse] if isinstance(reuse, Path | str) else reuse)],
        only=list(only),
        evaluator=evaluator,
        preview=preview,
        reporter=reporter,
    )


def _run(
    spec: Spec,
    *,
    path: Path | None,
    out: Path | None,
    data_dir: Path | str | None,
    device: str,
    workers: int,
    reporter: Reporter | None,
    link: Link | None = None,
    download: bool = False,
    reuse: Sequence[Path] = (),
    only: Sequence[str] = (),
    evaluator: str | None = None,
    preview: bool = False,
) -> RunResult:
    """`run` of a spec that was read from `path`, from where its data and code are looked for; None: the working directory."""
    require_working_folder()
    if workers < 1:
        raise UsageError(f"workers must be at least 1 (got {workers})")
    if link is not None and workers > 1:
        raise UsageError("--workers starts processes here, --scheduler names those of a scheduler: choose one of them")
    _prepare(spec)
    from tmrepro.runner.execute import execute

    home = path.parent if path is not None else Path()
    try:
        with importable_from(_code_folder(spec, path)):
            return execute(
                spec,
                out=out if out is not None else DEFAULT_RUNS / spec.name,
                data_dir=_data_place(spec, home=home, given=data_dir),
                home=home,
                download=download,
                device=device,
                workers=workers,
                link=link,
                reuse=reuse,
                only=only,
                evaluator=evaluator,
                preview=preview,
                reporter=reporter or default_reporter(),
            )
    except FieldError as error:
        if path is None or not path.is_file():
            raise
        raise blame(path, error) from error


def _link(scheduler: str | None, file: Path | str | None, *certificates: Path | str | None) -> Link | None:
    """The scheduler that arguments of `run` name; None where they name none."""
    if scheduler is None and file is None:
        return None
    ca, cert, key = (None if path is None else user_path(path) for path in certificates)
    return Link(scheduler, None if file is None else user_path(file), ca, cert, key)


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
    """Verify a run folder or a spec; a difference or damage is a verdict, not an error.

    Args:
        target: a run folder (default level: audit), a spec (rerun), a reference or a folder of `loss_surface` (both
            statistics, as far as they can be checked); spec/quickstart.yaml by default.
        level: integrity, statistics, audit or rerun; each includes the ones before it.
        reference: a reference folder; by default ./reference/NAME, else the shipped one with the spec's name, if there is
            one. The verdict says so where the first hides the second.
        replicate: the spec may differ from the reference's in its seeds; asks whether the results lie in its bands.
        share: of each surface's points, how many are audited (at least 16).
        seed: of the audit's sample; drawn by default, and told in the verdict.
        data_dir: as for `run`.
        device: as for `run`; used by audit and rerun.
        workers: as for `run`; used by rerun.
        trust_code: a factory (of a `custom` model, of data) named in a run's spec may be imported, from PYTHONPATH or the
            working directory.
        reporter: is told what an audit and a rerun do; as for `run`.

    Levels audit and rerun compute in a process of their own where `run` would.

    Raises:
        UsageError: a wrong argument, a target that is no spec, code that is not trusted.
        ArtefactError: nothing is there, or no reference where one is needed.
        ComputeError: a rerun could not be done.
    """
    path = find_spec(target if target is not None else "spec/quickstart.yaml")
    wanted = _level(level, path)
    kind = _kind(path)
    if kind == "surface" and (reference is not None or replicate):
        raise UsageError(f"{path} is a surface kept by tmrepro.loss_surface: there is no reference to hold it against")
    if kind == "reference" and replicate and reference is None:
        raise UsageError(f"{path} is a reference itself: --replicate needs another, with --reference")
    if not 0 < share <= 1:
        raise UsageError(f"share must be above 0 and at most 1 (got {share})")
    if seed is not None and not 0 <= seed < 2**64:
        raise UsageError(f"seed must be at least 0 and less than 2^64 (got {seed})")
    spec = _spec_of(path)
    from tmrepro.verification import Options, Verdict, open_reference, verify_run, verify_spec

    folder = _reference_of(path, spec, given=reference, needed=replicate)
    notes = _hidden_reference(spec, folder, given=reference)
    found = open_reference(folder) if folder is not None else None
    if isinstance(found, tuple):
        return Verdict(str(path), wanted, folder.name if folder else None, found, notes)
    if spec is not None and wanted in {"audit", "rerun"}:
        apply(_prepare(spec))

    place = user_path(data_dir) if data_dir is not None else None
    if spec is not None and not path.is_dir():
        place = _data_place(spec, home=path.parent, given=data_dir)

    def rerun(again: Spec, folder: Path, data_dir: Path | None) -> None:
        _run(again, path=None, out=folder, data_dir=data_dir, device=device, workers=workers, reporter=reporter)

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
        with importable_from(_code_folder(spec, path)):
            verdict = verify_spec(path, spec=spec, reference=found, replicate=replicate, options=options, rerun=rerun)
    except FieldError as error:
        raise blame(path, error) from error
    return replace(verdict, remarks=verdict.remarks + notes)


@isolated_if_needed
def measure_curvature(
    run: Path | str,
    *,
    models: Sequence[str] | None = None,
    top: int = 2,
    seed: int = 0,
    samples: int | None = None,
    tolerance: float = 1e-4,
    probes: int = 16,
    density_probes: int = 4,
    data_dir: Path | str | None = None,
    device: str = "auto",
    trust_code: bool = False,
    reporter: Reporter | None = None,
) -> tuple[dict[str, CurvatureDocument], bool]:
    """Compute how the loss on X~ bends at theta* of a finished run's networks, and keep it in the run folder.

    models/NAME/curvature.json and curvature.safetensors are written, figures/spectrum.png and .pdf drawn, and the manifest made
    anew. `tmrepro.curvature_of` has the words for what is computed.

    Args:
        run: a finished run folder.
        models: names of networks; all by default.
        top: eigenpairs, from the algebraically largest eigenvalue down.
        seed: of the random vectors.
        samples: the first so many images of X~; all by default.
        tolerance: of an eigenpair's residual, as a share of the largest absolute eigenvalue.
        probes: random vectors of the trace.
        density_probes: how many of them see the density too.
        data_dir: as for `run`.
        device: as for `run`.
        trust_code: as for `verify`.
        reporter: as for `run`.

    Returns:
        What curvature.json says, by network; and whether all of it was there before.

    Raises:
        UsageError: an argument that cannot be, code that is not trusted, or a network that cannot be differentiated twice.
        ArtefactError: no finished run is there, or it is damaged.
        ComputeError: the Hessian is not finite, or memory is not enough.
    """
    require_working_folder()
    folder = user_path(run)
    if folder.is_dir() and _kind(folder) not in {"run", None}:
        raise UsageError(f"{folder} is no run: curvature needs weights and data, which a {_kind(folder)} does not hold")
    spec = _spec_of(folder) if folder.is_dir() else None
    if spec is not None:
        apply(_prepare(spec))
    from tmrepro.landscape.curvature import Settings
    from tmrepro.runner.curvature import Asked, curvature_of_run
    from tmrepro.runner.execute import choose_device
    from tmrepro.runner.view import open_run

    view = open_run(folder, data_dir=data_dir, trust_code=trust_code)
    settings = Settings(top=top, seed=seed, tolerance=tolerance, probes=probes, density_probes=density_probes)
    with importable_from(Path() if trust_code else None):
        return curvature_of_run(
            view,
            Asked(models, samples, settings),
            device=choose_device(device),
            reporter=reporter or default_reporter(),
        )


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
    """Take a run as the new reference, if it agrees with itself and `confirm` says yes to what changes.

    Args:
        target: a run folder, audited first; or a spec, which is run in a fresh folder.
        confirm: is told what changes, and decides. Not asked where the run is refused, or nothing changes.
        reference: the reference folder to replace; by default that which `verify` would use. One that belongs to an
            installed package stays as it is.
        share: as for `verify`.
        seed: as for `verify`.
        data_dir: as for `run`.
        device: as for `run`.
        workers: as for `run`.
        trust_code: as for `verify`.
        reporter: as for `run`.

    Returns:
        What was proposed, and whether the reference was written.

    Raises:
        UsageError, ArtefactError, ComputeError: as for `run` and `verify`.
    """
    path = find_spec(target)
    _level(None, path)
    if _kind(path) in {"reference", "surface"}:
        raise UsageError(f"{path} is no run: only a run, or a spec that is run, becomes a reference")
    spec = _spec_of(path)
    to = _reference_of(path, spec, given=reference, needed=True)
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
            _run(spec, path=path, out=fresh, data_dir=data_dir, device=device, workers=workers, reporter=reporter)
            trust_code = True  # the caller's own spec, just run
            data_dir = _data_place(spec, home=path.parent, given=data_dir)
        with importable_from(None if spec is None or path.is_dir() else _code_folder(spec, path)):
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
    """Run `spec` and its replicates, and keep what later runs are verified against. Returns the reference folder.

    Args:
        spec: as for `run`.
        to: the reference folder; ./reference/NAME by default.
        replicates: runs to measure bands on, the spec's own among them. 1: the bands are measured over the replicates of training
            inside the run (the spec's replicates.training), and there are none if that is 1 too.
        runs: where the runs are kept; a build that was interrupted continues there.
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
    _prepare(resolved)
    home = user_path(runs) if runs is not None else DEFAULT_RUNS / f"reference-{resolved.name}"
    specs = [with_seeds(resolved, replicate=replicate) for replicate in range(replicates)]
    found = [
        _run(
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


def _data_place(spec: Spec, *, home: Path, given: Path | str | None) -> Path | None:
    """The folder of a spec's data: as given, or what the spec says, from `home` on. Loads torch."""
    from tmrepro.data import place_of

    return place_of(spec.data, data_dir=user_path(given) if given is not None else None, home=home)


def _code_folder(spec: Spec, path: Path | None) -> Path | None:
    """The folder of the spec file `path`, if the spec names code of its user's."""
    named = isinstance(spec.data, CustomDataSpec) or any(isinstance(model, CustomModel) for model in spec.models)
    return path.parent if path is not None and named else None


def _prepare(spec: Spec) -> Determinism:
    """Set the environment of this process for what `spec` asks for.

    Raises:
        LoadedTooEarlyError: torch is already loaded with other settings, and the level is `portable`.
        UsageError: so it is, and no other process could find a factory of the spec.
    """
    determinism = Determinism(spec.compute.determinism, spec.compute.threads)
    try:
        prepare(determinism)
    except LoadedTooEarlyError:
        require_importable(spec)
        raise
    return determinism


def _level(level: str | None, target: Path) -> Level:
    if not target.exists():
        raise ArtefactError(f"{target}: nothing is there; give a run folder or a spec")
    kind = _kind(target)
    from tmrepro.verification import default_level, refuse_level

    if level is None:
        return "rerun" if kind is None else default_level(kind)
    if level not in get_args(Level):
        raise UsageError(f"level {level!r}: choose one of {', '.join(get_args(Level))}")
    if kind is not None:
        refuse_level(target, kind, cast("Level", level))
    if not target.is_dir() and level != "rerun":
        raise UsageError(f"{target} is a spec, which has no bytes to check: level {level} needs a run folder")
    return cast("Level", level)


def _kind(target: Path) -> Kind | None:
    """What a folder is; None for a spec."""
    from tmrepro.verification import kind_of

    return kind_of(target) if target.is_dir() else None


def _spec_of(target: Path) -> Spec | None:
    """The spec that a verification is about; None where a run's own is damaged, which level integrity will say."""
    if not target.is_dir():
        return load_spec(target)
    from tmrepro.store.specs import read_spec

    try:
        return read_spec(target)
    except ArtefactError:
        return None


def _reference_of(target: Path, spec: Spec | None, *, given: Path | str | None, needed: bool) -> Path | None:
    """The folder of the reference to hold `target` against, whether or not it exists; a run needs none."""
    if given is not None:
        return user_path(given)
    if _kind(target) in {"reference", "surface"}:
        return None
    found = reference_folder(spec.name) if spec is not None else None
    is_needed = needed or not target.is_dir()
    return found if found is not None and (is_needed or found.is_dir()) else None


def _hidden_reference(spec: Spec | None, folder: Path | None, *, given: Path | str | None) -> Remarks:
    """Say which reference was used where a shipped one has the same name."""
    from tmrepro.verification.verdict import Remarks

    if given is not None or spec is None or folder != own_reference(spec.name):
        return Remarks()
    shipped = shipped_reference(spec.name)
    hides = f"; the shipped one, {shipped}, was not used" if shipped.is_dir() else ""
    return Remarks(notes=(f"compared with the reference in {folder.resolve()}{hides}",))
