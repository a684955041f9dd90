"""The stages of a run's networks and surfaces, and their order. Stages that do not depend on each other run in parallel.

A network that diverged or collapsed is a failure of the run, a replicate only gives a note. The other networks are finished
anyway, so a stage first checks that its inputs exist.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial

from tmrepro.errors import ComputeError, DivergedError
from tmrepro.records import Minimum
from tmrepro.runner.cluster import Stage
from tmrepro.runner.context import Context
from tmrepro.runner.directions import store_surface_directions
from tmrepro.runner.models import relabel_model, train_model
from tmrepro.runner.path import planes_of, store_trajectory
from tmrepro.runner.surfaces import evaluate_surface
from tmrepro.runner.trainings import states_folder
from tmrepro.spec import DrawnSurface, TrainedModel, expand_models, expand_surfaces
from tmrepro.store.atomic import remove
from tmrepro.store.stages import StageRecord

PATHS_ARE_DONE = "paths"


@dataclass
class Found:
    """The results of the stages of a run, by network and by (SURFACE, MODEL)."""

    trained: dict[str, StageRecord] = field(default_factory=dict)
    minima: dict[str, Minimum] = field(default_factory=dict)
    relabelled: dict[str, StageRecord] = field(default_factory=dict)
    surfaces: dict[tuple[str, str], StageRecord] = field(default_factory=dict)
    paths: dict[str, StageRecord] = field(default_factory=dict)
    directions: dict[tuple[str, str], StageRecord] = field(default_factory=dict)

    def has_point(self, name: str) -> bool:
        """Return whether theta* of a network is a point with surfaces."""
        return name in self.minima and self.minima[name].has_surface


def run_stages(context: Context, names: Collection[str]) -> Found:
    """Run the stages of the networks `names`. Failures are added to the context's, in the order of the spec."""
    models = {model.name: model for model in expand_models(context.spec) if model.name in names}
    graph = _Graph(context, models)
    context.engine.graph(graph.stages)
    context.failures.extend(failure for one in graph.failures for failure in one)
    return graph.in_order()


class _Graph:
    """The stages, each with its own list of failures, since they end in any order."""

    def __init__(self, context: Context, models: dict[str, TrainedModel]) -> None:
        self._context, self._models, self._found = context, models, Found()
        self.stages: list[Stage] = []
        self.failures: list[list[ComputeError]] = []
        around = [(drawn, name) for drawn in expand_surfaces(context.spec) for name in drawn.models if name in models]
        stored = [(drawn, name) for drawn, name in around if drawn.spec.directions.kind != "random"]
        for name in models:
            self._add(f"training/{name}", (), partial(self._train, name=name))
            self._add(f"minimum/{name}", (f"training/{name}",), partial(self._relabel, name=name))
        for drawn, name in stored:
            needed = [name, *(drawn.spec.directions.between or ())]
            self._add(
                f"directions/{drawn.name}/{name}",
                tuple(f"minimum/{one}" for one in needed),
                partial(self._store_directions, drawn=drawn, name=name),
            )
        for name, model in models.items():
            if model.spec.training.trajectory is not None:
                own = tuple(f"directions/{drawn.name}/{one}" for drawn, one in stored if one == name)
                self._add(
                    f"trajectory/{name}",
                    (f"minimum/{name}", *own),
                    partial(self._follow, name=name),
                )
        # The states take gigabytes. Nothing needs them after paths and directions are stored.
        kinds = ("training/", "trajectory/", "directions/")
        made = tuple(stage.name for stage in self.stages if stage.name.startswith(kinds))
        self._add(PATHS_ARE_DONE, made, lambda context: remove(states_folder(context.run)))
        for drawn, name in around:
            earlier = (f"directions/{drawn.name}/{name}",) if (drawn, name) in stored else ()
            self._add(
                f"surface/{drawn.name}/{name}",
                (f"minimum/{name}", *earlier),
                partial(self._evaluate, drawn=drawn, name=name),
            )

    def in_order(self) -> Found:
        """Return what was found, in the order of the spec."""
        found = self._found

        def ordered(kind: str, values: dict) -> dict:  # type: ignore[type-arg]
            places = {stage.name: place for place, stage in enumerate(self.stages)}

            def place(key: str | tuple[str, str]) -> int:
                return places[f"{kind}/{key if isinstance(key, str) else '/'.join(key)}"]

            return {key: values[key] for key in sorted(values, key=place)}

        return Found(
            ordered("training", found.trained),
            ordered("minimum", found.minima),
            ordered("minimum", found.relabelled),
            ordered("surface", found.surfaces),
            ordered("trajectory", found.paths),
            ordered("directions", found.directions),
        )

    def _add(self, name: str, after: tuple[str, ...], run: Callable[[Context], None]) -> None:
        own: list[ComputeError] = []
        self.failures.append(own)
        context = replace(self._context, failures=own)
        self.stages.append(Stage(name, after, lambda: run(context)))

    def _train(self, context: Context, *, name: str) -> None:
        try:
            self._found.trained[name] = train_model(context, self._models[name])
        except DivergedError as error:
            context.failures.append(DivergedError(f"{name}: {error}"))
            context.reporter.note(f"{name} diverged; the other networks are finished")

    def _relabel(self, context: Context, *, name: str) -> None:
        found = self._found
        if name in found.trained:
            found.relabelled[name], found.minima[name] = relabel_model(
                context, self._models[name], training=found.trained[name]
            )

    def _store_directions(self, context: Context, *, drawn: DrawnSurface, name: str) -> None:
        found = self._found
        if not found.has_point(name):
            return
        try:
            found.directions[drawn.name, name] = store_surface_directions(
                context, drawn, self._models[name], trained=found.trained, minimum=found.relabelled[name]
            )
        except ComputeError as error:
            context.failures.append(error)
            context.reporter.note(f"{error}; the other surfaces are finished")

    def _follow(self, context: Context, *, name: str) -> None:
        found, model = self._found, self._models[name]
        if found.has_point(name):
            found.paths[name] = store_trajectory(
                context,
                model,
                training=found.trained[name],
                minimum=found.relabelled[name],
                planes=planes_of(context, model, found.directions),
            )

    def _evaluate(self, context: Context, *, drawn: DrawnSurface, name: str) -> None:
        found = self._found
        directions = found.directions.get((drawn.name, name))
        if found.has_point(name) and (drawn.spec.directions.kind == "random" or directions is not None):
            found.surfaces[drawn.name, name] = evaluate_surface(
                context,
                drawn,
                self._models[name],
                training=found.trained[name],
                minimum=found.relabelled[name],
                directions=directions,
            )
