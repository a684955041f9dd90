"""`tmrepro curvature`, for Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tmrepro.api.isolation import isolated_if_needed
from tmrepro.api.preparation import link_of, prepare_for, require_one_way
from tmrepro.api.targets import kind_of_target, spec_of
from tmrepro.errors import UsageError
from tmrepro.numerics.determinism import apply
from tmrepro.reporting.progress import Reporter, default_reporter
from tmrepro.spec.user_paths import require_working_folder, user_path
from tmrepro.usercode import importable_from

if TYPE_CHECKING:
    from tmrepro.store.curvature import CurvatureDocument


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
    workers: int = 1,
    scheduler: str | None = None,
    scheduler_file: Path | str | None = None,
    tls_ca: Path | str | None = None,
    tls_cert: Path | str | None = None,
    tls_key: Path | str | None = None,
    trust_code: bool = False,
    reporter: Reporter | None = None,
) -> tuple[dict[str, CurvatureDocument], bool]:
    """Compute the curvature of the loss on X~ at theta* of a finished run's networks, and store it in the run folder.

    Writes models/NAME/curvature.json and curvature.safetensors, draws figures/spectrum.png and .pdf, and writes the manifest
    again. `tmrepro.curvature_of` describes what is computed.

    Args:
        run: a finished run folder.
        models: names of networks. The default is all of them.
        top: number of eigenpairs, from the algebraically largest eigenvalue down.
        seed: seed of the random vectors.
        samples: use only the first `samples` examples of X~. The default is all of them.
        tolerance: largest residual of an eigenpair, as a share of the largest absolute eigenvalue.
        probes: number of random vectors for the trace.
        density_probes: number of these vectors that are used for the density as well.
        data_dir: as for `run`.
        device: as for `run`.
        workers: number of processes, each of which measures one network at a time. The results are bitwise identical for
            any number.
        scheduler: as for `run`; likewise `scheduler_file`, `tls_ca`, `tls_cert` and `tls_key`.
        scheduler_file: see `scheduler`.
        tls_ca: see `scheduler`.
        tls_cert: see `scheduler`.
        tls_key: see `scheduler`.
        trust_code: as for `verify`.
        reporter: as for `run`.

    Returns:
        The content of curvature.json by network, and whether all of it was stored before.

    Raises:
        UsageError: an argument is invalid, code is not trusted, or a network cannot be differentiated twice.
        ArtefactError: the folder holds no finished run, or the run is damaged.
        ComputeError: the Hessian is not finite, memory is full, or no scheduler answers.
    """
    require_working_folder()
    link = link_of(scheduler, scheduler_file, tls_ca, tls_cert, tls_key)
    require_one_way(workers, link)
    folder = user_path(run)
    if folder.is_dir() and kind_of_target(folder) not in {"run", None}:
        raise UsageError(
            f"{folder} is not a run: curvature needs weights and data, and a {kind_of_target(folder)} has none"
        )
    spec = spec_of(folder) if folder.is_dir() else None
    if spec is not None:
        apply(prepare_for(spec))
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
            workers=workers,
            link=link,
            reporter=reporter or default_reporter(),
        )
