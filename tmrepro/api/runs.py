"""`tmrepro.run`: the command of the same name, for Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tmrepro.api.isolation import isolated_if_needed
from tmrepro.api.preparation import DEFAULT_RUNS, code_folder, data_place, link_of, prepare_for, require_one_way
from tmrepro.errors import FieldError
from tmrepro.reporting.progress import Reporter, default_reporter
from tmrepro.runner.cluster import Link
from tmrepro.spec import Spec, blame, load_spec
from tmrepro.spec.shipped import find_spec
from tmrepro.spec.user_paths import require_working_folder, user_path
from tmrepro.usercode import importable_from

if TYPE_CHECKING:
    from tmrepro.runner.execute import RunResult


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
    """Run a spec. A folder that holds a part of the run is continued.

    Args:
        spec: a spec, or the path of one. `spec/quickstart.yaml` and the other shipped ones are found anywhere.
        out: the run folder; runs/NAME by default.
        data_dir: where CIFAR-10, the image folder or the file of arrays is. The default is the environment variable
            TMREPRO_DATA, then the path in the spec, relative to the spec's file. Modules of factories are imported from the
            folder of the spec's file or from PYTHONPATH.
        download: allow CIFAR-10 to be downloaded into `data_dir`.
        device: auto, cpu or cuda.
        workers: number of processes that train and evaluate, each with compute.threads threads. The results are bitwise
            identical for any number.
        scheduler: address of a Dask scheduler whose workers (`tmrepro worker`) compute instead. Only this process writes `out`.
        scheduler_file: the file that the scheduler wrote (`dask scheduler --scheduler-file`), instead of its address.
        tls_ca: certificate of the authority. A scheduler on another machine needs it, `tls_cert` and `tls_key`.
        tls_cert: certificate of this process.
        tls_key: its key.
        reuse: other run folders. Their stages with the same key are copied after their checksums are checked.
        only: compute only the training, minimum and surfaces of these trained networks (cnn, cnn.r1), and leave the run
            incomplete. Folders of such parts, from several processes or machines, become one run with `reuse`.
        evaluator: use this evaluator for every surface, instead of the one chosen by rule.
        preview: draw RUN/.work/preview/SURFACE.MODEL.png while a surface is computed. It is removed when the run is complete.
        reporter: receives progress. The default prints lines in a notebook and nothing elsewhere; tmrepro.Silent prints nothing.

    If torch was already imported with settings that `portable` determinism does not allow, as in a notebook, the run is
    computed in a new Python process with the same sys.path. Progress, output, result and errors are the same. An interrupt
    ends that process, and the same call continues the run.

    Raises:
        UsageError: the spec or an argument is invalid, or a factory is defined in the notebook itself.
        ArtefactError: data or files of the run are missing or damaged.
        ComputeError: memory or disk is full, training diverged or collapsed, or no scheduler answers. The same call continues
            the run.
    """
    path = None if isinstance(spec, Spec) else find_spec(spec)
    return run_spec(
        spec if isinstance(spec, Spec) else load_spec(find_spec(spec)),
        path=path,
        out=user_path(out) if out is not None else None,
        data_dir=data_dir,
        download=download,
        device=device,
        workers=workers,
        link=link_of(scheduler, scheduler_file, tls_ca, tls_cert, tls_key),
        reuse=[user_path(folder) for folder in ([reuse] if isinstance(reuse, Path | str) else reuse)],
        only=list(only),
        evaluator=evaluator,
        preview=preview,
        reporter=reporter,
    )


def run_spec(
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
    """Run a spec that was read from `path`. Its data and code are looked for beside that file; None: in the working directory."""
    require_working_folder()
    require_one_way(workers, link)
    prepare_for(spec)
    from tmrepro.runner.execute import execute

    home = path.parent if path is not None else Path()
    try:
        with importable_from(code_folder(spec, path)):
            return execute(
                spec,
                out=out if out is not None else DEFAULT_RUNS / spec.name,
                data_dir=data_place(spec, home=home, given=data_dir),
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
