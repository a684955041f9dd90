"""`tmrepro.run` and `tmrepro.verify`: the commands of the same names, for Python. Torch loads inside, never before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from tmrepro.determinism import Determinism, prepare
from tmrepro.errors import ArtefactError, UsageError
from tmrepro.progress import Reporter, Silent
from tmrepro.shipped import find_spec, reference_folder
from tmrepro.spec import Spec, load_spec
from tmrepro.spec.seeds import with_seeds

if TYPE_CHECKING:
    from tmrepro.pipeline import RunResult
    from tmrepro.verify import Verdict

DEFAULT_RUNS = Path("runs")

Level = Literal["integrity", "statistics", "audit", "rerun"]


def run(
    spec: Spec | Path | str,
    *,
    out: Path | str | None = None,
    data_dir: Path | str | None = None,
    download: bool = False,
    device: str = "auto",
    workers: int = 1,
    reuse: Path | str | None = None,
    evaluator: str | None = None,
    reporter: Reporter | None = None,
) -> RunResult:
    """Run a spec, continuing what its folder holds.

    Args:
        spec: a spec, or the path of one. `spec/quickstart.yaml` and the other shipped ones are found anywhere.
        out: the run folder; runs/NAME by default.
        data_dir: where CIFAR-10 or the image folder is; the environment variable TMREPRO_DATA by default.
        download: CIFAR-10 may be downloaded into `data_dir`.
        device: auto, cpu or cuda.
        workers: processes that evaluate surfaces, each with compute.threads threads. The bytes don't depend on it.
        reuse: another run folder, from which stages with the same key are taken over after their bytes are checked.
        evaluator: force an evaluator by name instead of by rule.
        reporter: is told what happens; silent by default.

    Raises:
        UsageError: a wrong spec or argument; `portable` determinism after torch was loaded with other settings.
        ArtefactError: data or files of the run are missing or damaged.
        ComputeError: out of memory, diverged, collapsed, disk full. The same call continues the run.
    """
    resolved = spec if isinstance(spec, Spec) else load_spec(find_spec(spec))
    if workers < 1:
        raise UsageError(f"workers must be at least 1 (got {workers})")
    prepare(Determinism(resolved.compute.determinism, resolved.compute.threads))
    from tmrepro.pipeline import execute

    return execute(
        resolved,
        out=Path(out) if out is not None else DEFAULT_RUNS / resolved.name,
        data_dir=Path(data_dir) if data_dir is not None else None,
        download=download,
        device=device,
        workers=workers,
        reuse=Path(reuse) if reuse is not None else None,
        evaluator=evaluator,
        reporter=reporter or Silent(),
    )


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
    """Verify a run folder or a spec; a difference is a verdict, not an error.

    Args:
        target: a run folder (default level: audit) or a spec (rerun); spec/quickstart.yaml by default.
        level: integrity, statistics, audit or rerun; each includes the ones before it.
        reference: a reference folder; by default the shipped one with the spec's name, if there is one.
        replicate: the spec may differ from the reference's in its seeds; asks whether the statistics lie in its bands.
        share: of each surface's points, how many are audited (at least 16).
        seed: of the audit's sample; drawn by default, and told in the verdict.
        data_dir: as for `run`.
        device: as for `run`; used by rerun.
        workers: as for `run`; used by rerun.
        trust_code: a `custom` model named in a run's spec may be imported.
        reporter: is told what a rerun does.

    Raises:
        UsageError: a wrong argument, or a target that is no spec.
        ArtefactError: nothing is there; the reference is missing or damaged.
    """
    path = find_spec(target if target is not None else "spec/quickstart.yaml")
    wanted = _level(level, path)
    if not 0 < share <= 1:
        raise UsageError(f"share must be above 0 and at most 1 (got {share})")
    spec = _spec_of(path)
    if spec is not None and wanted in {"audit", "rerun"}:
        prepare(Determinism(spec.compute.determinism, spec.compute.threads))
    from tmrepro.determinism import apply
    from tmrepro.verify import verify_run, verify_spec
    from tmrepro.verify.reference import Reference

    def rerun(again: Spec, folder: Path) -> None:
        run(again, out=folder, data_dir=data_dir, device=device, workers=workers, reporter=reporter)

    if reference is not None:
        found: Reference | None = Reference(Path(reference))
    else:
        shipped = reference_folder(spec.name) if spec is not None else None
        found = Reference(shipped) if shipped is not None and (shipped.is_dir() or not path.is_dir()) else None
    folder_of_data = Path(data_dir) if data_dir is not None else None
    if not path.is_dir():
        assert spec is not None  # noqa: S101
        assert found is not None  # noqa: S101
        return verify_spec(path, spec=spec, reference=found, replicate=replicate, data_dir=folder_of_data, rerun=rerun)
    if spec is not None and wanted in {"audit", "rerun"}:
        apply(Determinism(spec.compute.determinism, spec.compute.threads))
    return verify_run(
        path,
        level=wanted,
        reference=found,
        replicate=replicate,
        share=share,
        seed=seed,
        data_dir=folder_of_data,
        trust_code=trust_code,
        rerun=rerun,
    )


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
        to: the reference folder; paper/reference/NAME by default.
        replicates: runs to measure bands on, the spec's own among them; 1: no bands.
        runs: where the runs are kept; a build that was interrupted continues there.
        data_dir: as for `run`.
        device: as for `run`.
        workers: as for `run`.
        reporter: as for `run`.

    Raises:
        UsageError, ArtefactError, ComputeError: as for `run`.
    """
    resolved = spec if isinstance(spec, Spec) else load_spec(find_spec(spec))
    home = Path(runs) if runs is not None else DEFAULT_RUNS / f"reference-{resolved.name}"
    found = [
        run(
            with_seeds(resolved, replicate=replicate),
            out=home / str(replicate),
            data_dir=data_dir,
            device=device,
            workers=workers,
            reporter=reporter,
        )
        for replicate in range(replicates)
    ]
    from tmrepro.verify.reference import write_reference

    target = Path(to) if to is not None else reference_folder(resolved.name)
    write_reference(found[0].run, to=target, replicates=[result.statistics for result in found])
    return target


def _level(level: str | None, target: Path) -> Level:
    if not target.exists():
        raise ArtefactError(f"{target}: nothing is there; give a run folder or a spec")
    if level is None:
        return "audit" if target.is_dir() else "rerun"
    if level not in get_args(Level):
        raise UsageError(f"level {level!r}: choose one of {', '.join(get_args(Level))}")
    if not target.is_dir() and level != "rerun":
        raise UsageError(f"{target} is a spec, which has no bytes to check: level {level} needs a run folder")
    return cast("Level", level)


def _spec_of(target: Path) -> Spec | None:
    """The spec that a verification is about; None where a run's own is damaged, which level integrity will say."""
    if not target.is_dir():
        return load_spec(target)
    try:
        return load_spec(target / "spec.yaml")
    except UsageError:
        return None
