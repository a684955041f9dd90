"""`tmrepro curvature RUN`: the curvature of the loss at theta* of a finished run's networks, stored in the run folder.

Everything is computed first. Then the files and the manifest are written with signals held back, so that an interruption
leaves the folder either unchanged or complete.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from tmrepro.errors import ArtefactError, DamagedError, UsageError
from tmrepro.landscape.curvature import Settings
from tmrepro.records import Curvature, Density, Spectrum, Surface
from tmrepro.reporting.figures import draw_spectrum, save_figure
from tmrepro.reporting.progress import Reporter
from tmrepro.runner.cluster import Link
from tmrepro.runner.curvature_tasks import MeasureCurvature, measure_all
from tmrepro.runner.view import RunView
from tmrepro.spec import CustomModel, DrawnSurface, Spec, expand_models, expand_surfaces
from tmrepro.store.atomic import remove, work_folder, write_bytes
from tmrepro.store.curvature import (
    LARGEST,
    CurvatureDocument,
    DensityDocument,
    SliceDocument,
    read_curvature,
    save_curvature,
    spectrum_stem,
)
from tmrepro.store.lock import remove_work, run_lock
from tmrepro.store.manifest import check_manifest, file_hashes, told, write_manifest
from tmrepro.store.run_files import CURVATURE, LABELS, THETA, VECTORS, model_file
from tmrepro.store.surfaces import read_surface

NO_POINT = frozenset({"collapsed", "diverged"})


@dataclass(frozen=True)
class Asked:
    """What to compute. `models`: names, or None for all with a theta*. `images`: how many of X~, from the first; None: all."""

    models: Sequence[str] | None
    images: int | None
    settings: Settings


def curvature_of_run(
    view: RunView,
    asked: Asked,
    *,
    device: torch.device,
    reporter: Reporter,
    workers: int = 1,
    link: Link | None = None,
) -> tuple[dict[str, CurvatureDocument], bool]:
    """Compute and store the curvature of the run's networks. Return it, and whether all of it was stored before.

    Raises:
        UsageError: a network is unknown, there are not as many images, or a setting is invalid.
        DamagedError: the run is not finished, or differs from its manifest.
        ComputeError: the Hessian is not finite, or memory is full.
    """
    run, names = view.folder, _names(view, asked.models, reporter)
    if findings := check_manifest(run):
        raise DamagedError(f"{run}: {told(run, findings)}")
    documents = {name: kept for name in names if (kept := _kept(view, name, asked)) is not None}
    missing = [name for name in names if name not in documents]
    if not missing:
        return documents, True
    with run_lock(run):
        try:
            vectors, tasks = {}, _tasks(view, missing, asked)
            found = measure_all(view, tasks, device=device, workers=workers, link=link, reporter=reporter)
            with closing(found):
                for name, curvature in found:
                    documents[name], vectors[name] = _document(view, tasks[name], curvature), curvature.vectors
            with _uninterrupted():
                for name in missing:
                    save_curvature(run, documents[name], vectors[name], work=work_folder(run))
                draw_spectra(
                    run,
                    view.spec,
                    folder=run / "figures",
                    write=lambda path, data: write_bytes(path, data, work=work_folder(run)),
                )
                write_manifest(run, work=work_folder(run))
        finally:
            remove_work(run)
    return {name: documents[name] for name in names}, False


def draw_spectra(run: Path, spec: Spec, *, folder: Path, write: Callable[[Path, bytes], None]) -> None:
    """Draw the spectra of all networks whose curvature is stored in `run`, into `folder`, through `write`.

    Raises:
        DamagedError: a curvature.json is invalid.
    """
    spectra: dict[str, dict[str, Spectrum]] = {}
    for model in expand_models(spec):
        if (run / "models" / model.name / CURVATURE).exists():
            spectra.setdefault(model.base, {})[model.name] = _spectrum(read_curvature(run, model.name))
    if spectra:
        save_figure(draw_spectrum(spectra), folder / spectrum_stem(spec), write)


def forget_stale_curvature(run: Path, spec: Spec, *, work: Path) -> None:
    """Remove the curvature of networks or labels that the run no longer has, and curvature that is damaged."""
    for model in expand_models(spec):
        folder = run / "models" / model.name
        if (folder / CURVATURE).exists() or (folder / VECTORS).exists():
            try:
                current = _of_this_run(run, read_curvature(run, model.name)) and (folder / VECTORS).exists()
            except ArtefactError:
                current = False
            if not current:
                remove(folder / CURVATURE)
                remove(folder / VECTORS)
    for kind in ("png", "pdf"):
        remove(run / "figures" / f"{spectrum_stem(spec)}.{kind}")
    draw_spectra(run, spec, folder=run / "figures", write=lambda path, data: write_bytes(path, data, work=work))


def slices_of(run: Path, spec: Spec, model: str, *, mean: float) -> dict[str, SliceDocument]:
    """Return second differences at theta*, and tr(H)/N, of each surface along two random unit directions in all parameters."""
    found = {}
    for drawn in expand_surfaces(spec):
        if model in drawn.models and _is_random(drawn):
            surface, _, home, step = read_surface(run, drawn.name, model)
            central = 0 < home[0] < len(surface.a) - 1
            found[drawn.name] = SliceDocument(
                predicted=mean,
                a=_second_difference(surface, home, axis=0, step=step),
                b=_second_difference(surface, home, axis=1, step=step),
                difference="central" if central else "one-sided",
                step=step,
            )
    return found


def settings_of(document: CurvatureDocument) -> Settings:
    """Return the settings with which `document` was computed."""
    return Settings(
        top=len(document.eigenvalues),
        seed=document.seed,
        tolerance=document.tolerance,
        probes=len(document.trace_samples),
        density_probes=document.density_probes,
        basis=document.basis,
        batch=document.batch,
        precision=document.precision,
        most_products=document.most_products,
    )


def _names(view: RunView, wanted: Sequence[str] | None, reporter: Reporter) -> list[str]:
    for name in wanted or ():
        if name not in view.models:
            raise UsageError(f"--models {name}: this run has {', '.join(view.models)}")
    names = []
    for name in wanted or view.models:
        category = view.minimum(name).category
        if category in NO_POINT:
            reporter.note(f"{name} {category}: it has no theta* whose curvature is meaningful")
        else:
            names.append(name)
    return list(dict.fromkeys(names))


def _kept(view: RunView, name: str, asked: Asked) -> CurvatureDocument | None:
    """Return the stored curvature of a network, if it was computed with the settings of `asked`."""
    if not (view.folder / "models" / name / CURVATURE).exists():
        return None
    document = read_curvature(view.folder, name)
    images = len(view.labels(name)) if asked.images is None else asked.images
    settings = replace(asked.settings, basis=asked.settings.rows(document.parameters))
    same = settings_of(document) == settings and document.images == images and _of_this_run(view.folder, document)
    return document if same else None


def _of_this_run(run: Path, document: CurvatureDocument) -> bool:
    theta, labels = model_file(document.model, THETA), model_file(document.model, LABELS)
    hashes = file_hashes(run, [theta, labels])
    return (hashes[theta], hashes[labels]) == (document.theta_sha256, document.labels_sha256)


def _tasks(view: RunView, names: Sequence[str], asked: Asked) -> dict[str, MeasureCurvature]:
    tasks = {}
    for name in names:
        model = next(model for model in expand_models(view.spec) if model.name == name)
        if isinstance(model.spec, CustomModel):
            view.model(name)  # its code must be trusted, and that of the run
        available = len(view.labels(name))
        images = available if asked.images is None else asked.images
        if not 1 <= images <= available:
            raise UsageError(f"--samples {images}: expected at least 1 and at most {available}, the images of X~")
        needs = file_hashes(view.folder, [model_file(name, THETA), model_file(name, LABELS)])
        tasks[name] = MeasureCurvature(needs=needs, model=model, images=images, settings=asked.settings)
    return tasks


def _document(view: RunView, task: MeasureCurvature, found: Curvature) -> CurvatureDocument:
    name, settings = task.model.name, task.settings
    return CurvatureDocument(
        model=name,
        parameters=found.parameters,
        images=task.images,
        labels="relabelled",
        precision="float64" if settings.precision == "float64" else "float32",
        theta_sha256=task.needs[model_file(name, THETA)],
        labels_sha256=task.needs[model_file(name, LABELS)],
        seed=settings.seed,
        eigenvalues=tuple(found.eigenvalues.tolist()),
        residuals=tuple(found.residuals.tolist()),
        converged=tuple(found.converged.tolist()),
        tolerance=settings.tolerance,
        scale=found.scale,
        trace=found.trace,
        trace_error=found.trace_error,
        trace_samples=tuple(found.trace_samples.tolist()),
        mean_eigenvalue=found.mean_eigenvalue,
        density=_density_document(found),
        density_probes=settings.density_probes,
        basis=settings.rows(found.parameters),
        batch=settings.batch or task.images,
        most_products=settings.most_products,
        products=found.products,
        slices=slices_of(view.folder, view.spec, name, mean=found.mean_eigenvalue),
    )


def _density_document(found: Curvature) -> DensityDocument | None:
    if found.density is None:
        return None
    grid, values = tuple(found.density.grid.tolist()), tuple(found.density.values.tolist())
    return DensityDocument(grid=grid, values=values, width=found.density.width, probes=found.density.probes)


def _spectrum(document: CurvatureDocument) -> Spectrum:
    density = document.density
    return Spectrum(
        eigenvalues=np.array(document.eigenvalues),
        converged=all(document.converged),
        mean=document.mean_eigenvalue,
        mean_error=document.trace_error / document.parameters,
        parameters=document.parameters,
        density=None
        if density is None
        else Density(np.array(density.grid), np.array(density.values), density.width, density.probes),
    )


def _is_random(drawn: DrawnSurface) -> bool:
    """Return whether tr(H)/N predicts its second differences: seeded directions of unit norm that move all parameters."""
    directions = drawn.spec.directions
    return directions.kind == "random" and directions.normalization == "l2" and directions.moves == "all"


def _second_difference(surface: Surface, home: tuple[int, int], *, axis: int, step: float) -> float | None:
    """Return the central difference, or a one-sided one if theta* is at the edge; None if a loss is missing or not finite."""
    line = surface.loss[:, home[1]] if axis == 0 else surface.loss[home[0]]
    begin = max(home[axis] - 1, 0)
    if begin + 3 > len(line):
        return None
    first, second, third = (float(value) for value in line[begin : begin + 3])
    found = (first - 2 * second + third) / step / step
    return found if abs(found) <= LARGEST else None


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold back ctrl-C and SIGTERM until the body is done."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
