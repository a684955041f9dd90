"""From surfaces to what people read: statistics, figures, provenance, crate, report, manifest."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, assert_never

import matplotlib as mpl

from tmrepro.data import Dataset
from tmrepro.figures import Panel, draw_landscape, draw_training, save_figure
from tmrepro.pipeline.context import Context, run_stage
from tmrepro.pipeline.provenance import code_facts, package_versions, platform_facts
from tmrepro.records import Minimum, TrajectoryPoint
from tmrepro.spec import LOSS_UNITS, DirectionsSpec, Spec, expand_models, expand_surfaces, spec_hash, surfaces_around
from tmrepro.statistics import surface_statistics
from tmrepro.store.atomic import write_bytes
from tmrepro.store.documents import load_history, write_json
from tmrepro.store.minima import read_minimum
from tmrepro.store.signatures import SIGNATURE, home_document, signature_document
from tmrepro.store.stages import StageRecord
from tmrepro.store.surfaces import read_surface
from tmrepro.store.trajectories import load_trajectory

Statistics = dict[str, dict[str, dict[str, float | int | None]]]

CURVES = "training.curves"  # no surface can have a dot in its name, so no surface's figure is overwritten


def store_statistics(context: Context, surfaces: Mapping[tuple[str, str], StageRecord]) -> Statistics:
    """Compute statistics.json from the stored surfaces."""
    found = statistics_of(context.run, list(surfaces))
    write_json(context.run / "statistics.json", found, work=context.work)
    return found


def statistics_of(run: Path, surfaces: Sequence[tuple[str, str]]) -> Statistics:
    """SURFACE -> MODEL -> statistic -> value, from the surfaces that `run` holds."""
    found: Statistics = {}
    for surface, model in surfaces:
        values, facts, home, step = read_surface(run, surface, model)
        error = None if facts.error is None else facts.error.over_bound
        found.setdefault(surface, {})[model] = surface_statistics(values, home=home, step=step, error_over_bound=error)
    return found


def store_figures(
    context: Context,
    surfaces: Mapping[tuple[str, str], StageRecord],
    relabelled: Mapping[str, StageRecord],
    paths: Mapping[str, StageRecord],
) -> StageRecord:
    """Stage figures: a row per network for each surface, with own and (of several) with shared scales, and the training curves.

    `relabelled` has the minimum stage of every network that has one, `paths` that of the path of training.
    """
    inputs = {
        "tmrepro": context.platform["tmrepro"],
        "matplotlib": mpl.__version__,
        "name": context.spec.name,
        "figures": context.spec.figures.model_dump(mode="json"),
        # Lists, since the order of the rows is drawn too.
        "surfaces": [[surface, model, record.key] for (surface, model), record in surfaces.items()],
        "minima": [[name, record.key] for name, record in relabelled.items()],
        **({"paths": [[name, record.key] for name, record in paths.items()]} if paths else {}),
    }
    minima = {name: read_minimum(context.run, name) for name in relabelled}

    def compute() -> tuple[list[str], dict[str, Any]]:
        written: list[str] = []

        def write(path: Path, data: bytes) -> None:
            write_bytes(path, data, work=context.work)
            written.append(path.relative_to(context.run).as_posix())

        draw_figures(context.run, spec=context.spec, minima=minima, folder=context.run / "figures", write=write)
        return written, {"folder": "figures"}

    return run_stage(context, "figures", inputs=inputs, folder="figures", compute=compute)


def draw_figures(
    run: Path,
    *,
    spec: Spec,
    minima: Mapping[str, Minimum],
    folder: Path,
    write: Callable[[Path, bytes], None],
    scale: Literal["linear", "log"] | None = None,
) -> None:
    """Draw all figures of a run from what it stores, into `folder`, through `write`."""
    paths = {name: read_path(run, minimum, spec=spec) for name, minimum in minima.items()}
    for drawn in expand_surfaces(spec):
        panels = [
            panel_of(run, drawn.name, minima[model], path=paths[model])
            for model in drawn.models
            if _has_surface(run, drawn.name, minima.get(model))
        ]
        if not panels:
            continue
        for shared in (False, True) if len(panels) > 1 else (False,):  # one network has nothing to share
            figure = draw_landscape(
                panels,
                title=f"{spec.name}: {drawn.name}",
                scale=scale or spec.figures.scale,
                shared=shared,
                directions=directions_in_words(drawn.spec.directions),
                labels=drawn.spec.labels,
                unit=LOSS_UNITS[spec.models[0].training.loss],
            )
            save_figure(figure, folder / (f"{drawn.name}.shared" if shared else drawn.name), write)
    histories = {name: load_history(run / "models" / name / "history.csv") for name in minima}
    histories = {name: history for name, history in histories.items() if history.epochs}  # none: diverged in the first
    save_figure(
        draw_training(histories, minima=minima, unit=LOSS_UNITS[spec.models[0].training.loss]), folder / CURVES, write
    )


def panel_of(run: Path, surface: str, minimum: Minimum, *, path: Sequence[TrajectoryPoint]) -> Panel:
    """The row of a figure that shows `surface` around the point of `minimum`, and the `path` of training to it."""
    values, facts, home, _ = read_surface(run, surface, minimum.model)
    places = tuple(point.places[surface] for point in path)
    return Panel(model=minimum.model, category=minimum.category, surface=values, facts=facts, home=home, path=places)


def directions_in_words(spec: DirectionsSpec) -> str:
    """Which directions a surface has, for the heading of its figure."""
    match spec.kind:
        case "random":
            return (
                "directions as drawn" if spec.normalization == "none" else f"{spec.normalization}-normalised directions"
            )
        case "pca":
            return "principal components of the path of training"
        case "hessian":
            return "eigenvectors of the two largest eigenvalues of the Hessian"
        case "between":
            return f"towards θ* of {' and '.join(spec.between or ())}"
        case _:
            assert_never(spec.kind)


def read_path(run: Path, minimum: Minimum, *, spec: Spec) -> tuple[TrajectoryPoint, ...]:
    """The path of training that led to `minimum`; empty where the spec records none, or the network collapsed."""
    wanted = next(one.spec.training.trajectory for one in expand_models(spec) if one.name == minimum.model)
    if wanted is None or not minimum.has_surface:
        return ()
    return load_trajectory(run, minimum.model, surfaces=surfaces_around(spec, minimum.model))


def provenance(context: Context, *, started: str, layouts: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """All of provenance.json."""
    dataset = context.dataset
    return {
        "spec_hash": spec_hash(context.spec),
        "data": {
            "name": context.spec.data.name,
            "source": dataset.source,
            "fingerprint": dataset.fingerprint,
            "train": len(dataset.train.labels),
            "validation": len(dataset.validation.labels),
            "classes": list(dataset.classes),
            **_of_inputs(dataset),
            **home_document(context.home, run=context.run, spec=context.spec),
            **({"notes": list(dataset.notes)} if dataset.notes else {}),
        },
        "code": code_facts(),
        "packages": package_versions(),
        "platform": platform_facts(context.device, determinism=context.determinism),
        "started": started,
        "ended": now(),
        "seconds": seconds,
        "timings": {record.name: record.seconds for record in context.book.records()},
        "parameters": dict(layouts),
        "stages": {
            record.name: {
                "name": record.name,
                "key": record.key,
                "inputs": record.inputs,
                "files": record.files,
                "facts": record.facts,
                "seconds": record.seconds,
                "reason": record.reason,
                "complete": record.complete,
            }
            for record in context.book.records()
        },
    }


def _of_inputs(dataset: Dataset) -> dict[str, Any]:
    """The constants with which pictures are scaled; of other data, what networks take and give."""
    if dataset.mean is None or dataset.deviation is None:
        return {SIGNATURE: signature_document(dataset.signature)}
    return {"mean": list(dataset.mean), "deviation": list(dataset.deviation)}


def now() -> str:
    """The time of day, ISO 8601 in UTC."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _has_surface(run: Path, surface: str, minimum: Minimum | None) -> bool:
    return minimum is not None and minimum.has_surface and (run / "surfaces.zarr" / surface / minimum.model).is_dir()
