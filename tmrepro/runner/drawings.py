"""The figures of a run, drawn from its files: surfaces, sheets of replicates, training curves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.figure import Figure

from tmrepro.records import History, Minimum, TrajectoryPoint
from tmrepro.reporting.figures import (
    Panel,
    ReplicateSheet,
    draw_landscape,
    draw_replicates,
    draw_training,
    figure_files,
)
from tmrepro.runner.cluster import Task
from tmrepro.runner.context import Context, run_stage
from tmrepro.runner.workspace import Workspace
from tmrepro.spec import (
    LOSS_UNITS,
    DrawnSurface,
    Spec,
    TrainedModel,
    expand_models,
    expand_surfaces,
    surfaces_around,
)
from tmrepro.store.atomic import write_bytes
from tmrepro.store.documents import load_history
from tmrepro.store.minima import read_minimum
from tmrepro.store.run_files import HISTORY, STORE, model_file
from tmrepro.store.stages import StageRecord
from tmrepro.store.surfaces import read_surface
from tmrepro.store.trajectories import load_trajectory

# The name of a surface has no dot, so this never overwrites the figure of a surface.
CURVES = "training.curves"
SHARED, REPLICATES = ".shared", ".replicates"


def figure_names(spec: Spec) -> list[str]:
    """Return the names of all figures that a run of `spec` may have, in the order in which they are shown."""
    surfaces = [surface.name for surface in spec.surfaces]
    return [*(f"{name}{kind}" for name in surfaces for kind in ("", SHARED, REPLICATES)), CURVES]


def store_figures(
    context: Context,
    surfaces: Mapping[tuple[str, str], StageRecord],
    relabelled: Mapping[str, StageRecord],
    paths: Mapping[str, StageRecord],
) -> StageRecord:
    """Stage figures: the training curves, and for each surface a figure with one row per network.

    A surface with several networks gets a second figure, in which all rows have the same scale. `relabelled` has the minimum
    stage of every network that has one, `paths` the stage of its path of training.
    """
    inputs = {
        "tmrepro": context.platform["tmrepro"],
        "matplotlib": mpl.__version__,
        "name": context.spec.name,
        "figures": context.spec.figures.model_dump(mode="json"),
        # Lists, since the order of the rows matters.
        "surfaces": [[surface, model, record.key] for (surface, model), record in surfaces.items()],
        "minima": [[name, record.key] for name, record in relabelled.items()],
        **({"paths": [[name, record.key] for name, record in paths.items()]} if paths else {}),
    }
    minima = {name: read_minimum(context.run, name) for name in relabelled}

    def compute() -> tuple[list[str], dict[str, Any]]:
        written = []
        tasks = (
            DrawFigure(needs={}, drawing=one) for one in drawings_of(context.run, spec=context.spec, minima=minima)
        )
        with closing(context.engine.each(tasks, context)) as results:
            for files in results:
                for name, data in files.items():
                    written.append(f"figures/{name}")
                    write_bytes(context.run / written[-1], data, work=context.work)
        return sorted(written), {"folder": "figures"}

    return run_stage(context, "figures", inputs=inputs, folder="figures", compute=compute)


@dataclass(frozen=True)
class Drawing:
    """A figure that is still to be drawn: its name, and a call that has all that is needed."""

    name: str
    draw: Callable[[], Figure]

    def files(self) -> dict[str, bytes]:
        """Draw it. Return its files by name, PNG and PDF."""
        return figure_files(self.draw(), self.name)


@dataclass(frozen=True, kw_only=True)
class DrawFigure(Task[dict[str, bytes]]):
    """Draw one figure, whose numbers the task carries."""

    drawing: Drawing

    def compute(self, workspace: Workspace) -> dict[str, bytes]:  # noqa: ARG002 - it needs no file and no data
        """See `Task.compute`."""
        return self.drawing.files()


def draw_figures(
    run: Path,
    *,
    spec: Spec,
    minima: Mapping[str, Minimum],
    folder: Path,
    write: Callable[[Path, bytes], None],
    scale: Literal["auto", "linear", "log"] | None = None,
) -> None:
    """Draw all figures of a run from what it stores, into `folder`, through `write`."""
    for drawing in drawings_of(run, spec=spec, minima=minima, scale=scale):
        for name, data in drawing.files().items():
            write(folder / name, data)


def drawings_of(
    run: Path,
    *,
    spec: Spec,
    minima: Mapping[str, Minimum],
    scale: Literal["auto", "linear", "log"] | None = None,
) -> Iterator[Drawing]:
    """Yield all figures of a run, from what it stores.

    A surface's figure shows the first training and pair of directions of each network. Replicates have a separate sheet.
    """
    paths = {name: read_path(run, minimum, spec=spec) for name, minimum in minima.items()}
    models = {model.name: model for model in expand_models(spec)}
    unit = LOSS_UNITS[spec.models[0].training.loss]
    replicated: dict[str, list[DrawnSurface]] = {}
    for drawn in expand_surfaces(spec):
        replicated.setdefault(drawn.base, []).append(drawn)
    for base, (drawn, *others) in replicated.items():
        title, words = f"{spec.name}: {base}", drawn.spec.directions.describe()

        def panel(name: str, model: str) -> Panel | None:
            there = _has_surface(run, name, minima.get(model))
            return panel_of(run, name, minima[model], path=paths[model]) if there else None

        rows = [panel(base, model) for model in drawn.models if models[model].replicate == 0]
        panels = [row for row in rows if row is not None]
        for shared in (False, True)[: len(panels)]:  # one network has no scale to share
            draw = partial(
                draw_landscape,
                panels,
                title=title,
                scale=scale or spec.figures.scale,
                shared=shared,
                directions=words,
                labels=drawn.spec.labels,
                unit=unit,
            )
            yield Drawing(f"{base}{SHARED}" if shared else base, draw)
        if others or any(models[model].replicate for model in drawn.models):
            sheets = _sheets([drawn, *others], [models[name] for name in drawn.models], minima=minima, panel=panel)
            draw = partial(
                draw_replicates, sheets, title=f"{title}, replicates", scale=scale or spec.figures.scale, words=words
            )
            yield Drawing(f"{base}{REPLICATES}", draw)
    histories: dict[str, list[History]] = {}
    for name in minima:
        history = load_history(run / model_file(name, HISTORY))
        if history.epochs:  # empty if training diverged in the first epoch
            histories.setdefault(models[name].base, []).append(history)
    first = {base: found[0] for base, found in histories.items()}
    rest = {base: found[1:] for base, found in histories.items()}
    yield Drawing(CURVES, partial(draw_training, first, minima=minima, unit=unit, others=rest))


def _sheets(
    drawn: Sequence[DrawnSurface],
    models: Sequence[TrainedModel],
    *,
    minima: Mapping[str, Minimum],
    panel: Callable[[str, str], Panel | None],
) -> list[ReplicateSheet]:
    """Return the replicates of one surface by network. A training without minimum.json diverged in its first epoch."""
    trained: dict[str, list[str]] = {}
    for model in models:
        trained.setdefault(model.base, []).append(model.name)
    return [
        ReplicateSheet(
            model=base,
            names=names,
            categories=[minima[name].category if name in minima else "failed" for name in names],
            pairs={surface.name: [panel(surface.name, name) for name in names] for surface in drawn},
        )
        for base, names in trained.items()
    ]


def panel_of(run: Path, surface: str, minimum: Minimum, *, path: Sequence[TrajectoryPoint]) -> Panel:
    """Return the row of a figure that shows `surface` around the point of `minimum`, and the `path` of training to it."""
    values, facts, home, _ = read_surface(run, surface, minimum.model)
    places = tuple(point.places[surface] for point in path)
    return Panel(model=minimum.model, category=minimum.category, surface=values, facts=facts, home=home, path=places)


def read_path(run: Path, minimum: Minimum, *, spec: Spec) -> tuple[TrajectoryPoint, ...]:
    """Return the path of training that led to `minimum`. Empty if the spec records none, or the network collapsed."""
    wanted = next(one.spec.training.trajectory for one in expand_models(spec) if one.name == minimum.model)
    if wanted is None or not minimum.has_surface:
        return ()
    return load_trajectory(run, minimum.model, surfaces=surfaces_around(spec, minimum.model))


def _has_surface(run: Path, surface: str, minimum: Minimum | None) -> bool:
    return minimum is not None and minimum.has_surface and (run / STORE / surface / minimum.model).is_dir()
