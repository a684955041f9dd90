"""Stage trajectory/NAME: the path of training, from the points that were stored while the network trained.

The points are in .work and are removed with it, unless the spec keeps them. If one is missing (the training was reused from
another run), the network is trained again, with a bitwise identical result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tmrepro.directions.components import Components, principal_components
from tmrepro.directions.gaussian import DirectionPair
from tmrepro.directions.trajectory import follow, places_in
from tmrepro.errors import ComputeError, UsageError
from tmrepro.networks.parameters import Layout, layout_of, theta_of
from tmrepro.numerics.inference import Targets, evaluate, gradient_norm, targets_of
from tmrepro.records import PlanePlace, TrajectoryPoint
from tmrepro.runner.cluster import Task
from tmrepro.runner.context import Context, computing, run_stage
from tmrepro.runner.models import relabelled, restore
from tmrepro.runner.surfaces import directions_inputs
from tmrepro.runner.trainings import state_path, train_with_checkpoints, users_code
from tmrepro.runner.view import direction_pair
from tmrepro.runner.weights import load_theta
from tmrepro.runner.workspace import Workspace
from tmrepro.spec import DrawnSurface, TrainedModel, TrainingSpec, TrajectorySpec, expand_surfaces
from tmrepro.store.run_files import THETA, model_file
from tmrepro.store.stages import StageRecord
from tmrepro.store.tensors import load_tensors, save_tensors
from tmrepro.store.trajectories import kept_state, save_trajectory
from tmrepro.training import Examples, path_epochs
from tmrepro.training.loop import reestimate_batch_norm


@dataclass(frozen=True)
class TrainingPath:
    """The points of a path of training. `files` are the states at `epochs`; `module` is the network at theta*, their origin."""

    module: nn.Module
    epochs: tuple[int, ...]
    files: tuple[Path, ...]
    name: str

    @cached_property
    def layout(self) -> Layout:
        """The order of the parameters."""
        return layout_of(self.module)

    @cached_property
    def theta_star(self) -> np.ndarray:
        """The parameters [n] of theta*."""
        return theta_of(self.module)

    def state(self, index: int) -> dict[str, np.ndarray]:
        """Return parameters and buffers at point `index`."""
        return load_tensors(self.files[index], name=f"the path of {self.name} at epoch {self.epochs[index]}")

    def theta(self, index: int) -> np.ndarray:
        """Return the parameters [n] at point `index`."""
        state = self.state(index)
        return np.concatenate([state[parameter.name].reshape(-1) for parameter in self.layout])

    def components(self) -> Components:
        """Return the principal components of the path.

        Raises:
            UsageError: it has fewer than two: it is too short, or a line.
        """
        buffers = frozenset(self.module.state_dict()) - {parameter.name for parameter in self.layout}
        return principal_components(self.files, origin=self.theta_star, layout=self.layout, others=buffers)


Planes = Mapping[str, tuple[Any, Callable[[], DirectionPair] | None]]
"""By surface: what identifies its plane, and a function that returns its directions; None if they could not be computed."""


def training_path(context: Context, model: TrainedModel, training: StageRecord) -> TrainingPath:
    """Return the points that were stored while `model` trained. If one is missing, train the network again.

    Raises:
        ComputeError: training again gave another theta*.
    """
    trained = restore(context, model, training)
    epochs = path_epochs(
        every=trajectory_of(model).every, epochs=len(trained.history.epochs), best_epoch=trained.best_epoch
    )
    files = tuple(
        state_path(context.run, model.name, key=training.key, seed=trained.seed, epoch=epoch) for epoch in epochs
    )
    path = TrainingPath(trained.model, epochs, files, model.name)
    if not all(file.exists() for file in files):
        context.reporter.note(f"{model.name} is trained again for its path, since the points were not kept")
        again = train_with_checkpoints(context, model, key=training.key)
        theta = np.concatenate([again.tensors[parameter.name].reshape(-1) for parameter in path.layout])
        if not np.array_equal(theta, path.theta_star):
            raise ComputeError(
                f"{model.name}: training again for its path gave another theta*; run without --reuse, so that both come "
                "from one training"
            )
    return path


def store_trajectory(
    context: Context, model: TrainedModel, *, training: StageRecord, minimum: StageRecord, planes: Planes
) -> StageRecord:
    """Write models/NAME/trajectory.csv, and the weights if the spec asks for them."""
    folder, spec, name = f"models/{model.name}", trajectory_of(model), model.name
    inputs = {
        "minimum": minimum.key,
        "training": training.key,
        "trajectory": spec.model_dump(mode="json"),
        "planes": {surface: identity for surface, (identity, _) in planes.items()},
    }

    def compute() -> tuple[list[str], dict[str, Any]]:
        with computing(f"the path of {name}", users_code=users_code(model.spec)):
            path = training_path(context, model, training)
            points, found = describe(
                path, planes, measure=_measured(context, model, path, training, minimum).__getitem__
            )
            files = [save_trajectory(context.run, name, points, work=context.work)]
            for index, epoch in enumerate(path.epochs if spec.weights else ()):
                files.append(kept_state(name, epoch))
                save_tensors(context.run / files[-1], path.state(index), work=context.work)
        return files, {"folder": folder, "explained": None if found is None else found.explained.tolist()}

    return run_stage(context, f"trajectory/{name}", inputs=inputs, folder=folder, compute=compute)


def describe(
    path: TrainingPath, planes: Planes, *, measure: Callable[[int], tuple[float, float]]
) -> tuple[list[TrajectoryPoint], Components | None]:
    """Return the points of a path with their places in `planes`, and its principal components if it has two.

    `measure` returns the loss and the gradient norm of a point by its index.
    """
    found = _components(path)
    points = follow(
        path.epochs,
        path.theta,
        theta_star=path.theta_star,
        components=None if found is None else found.coordinates,
        measure=measure,
    )
    for surface, (_, directions) in planes.items():
        places = [PlanePlace(None, None, None)] * len(points)
        if directions is not None:
            places = places_in(directions(), path.theta, len(points), theta_star=path.theta_star)
        points = [
            replace(point, places={**point.places, surface: place}) for point, place in zip(points, places, strict=True)
        ]
    return points, found


def measure_point(
    module: nn.Module, state: Mapping[str, np.ndarray], *, examples: Examples, targets: Targets, training: TrainingSpec
) -> tuple[float, float]:
    """Return loss and gradient norm of a point. `module` is changed; `targets` are y~ of X~.

    Batch norm is re-estimated at the point if `training` does so for theta*.
    """
    module.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    if training.reestimate_batch_norm:
        reestimate_batch_norm(module, examples.inputs, batch_size=training.batch_size)
    loss = evaluate(module.eval(), examples.inputs, targets=targets).loss
    return loss, gradient_norm(module, examples.inputs, targets=targets)


@dataclass(frozen=True, kw_only=True)
class MeasurePoint(Task[tuple[int, tuple[float, float]]]):
    """Measure one point of a path. `state` is its file among `needs`. The result includes the index."""

    model: TrainedModel
    index: int
    state: str

    def compute(self, workspace: Workspace) -> tuple[int, tuple[float, float]]:
        """See `Task.compute`."""
        name, training = self.model.name, self.model.spec.training
        with computing(f"the path of {name}", users_code=users_code(self.model.spec)):
            module = load_theta(workspace.run, self.model, signature=workspace.dataset.signature)
            labels = relabelled(workspace, name)
            found = measure_point(
                module.to(workspace.device),
                load_tensors(workspace.run / self.state, name=f"a point of the path of {name}"),
                examples=workspace.examples,
                targets=targets_of(labels, loss=training.loss, clip=training.clip_probability),
                training=training,
            )
        return self.index, found


def _measured(
    context: Context, model: TrainedModel, path: TrainingPath, training: StageRecord, minimum: StageRecord
) -> dict[int, tuple[float, float]]:
    """Return loss and gradient norm of each point, by index."""
    theta = model_file(model.name, THETA)
    shared = {theta: training.files[theta], **minimum.files}

    def tasks() -> Iterator[MeasurePoint]:
        for index, file in enumerate(path.files):
            state = file.relative_to(context.run).as_posix()
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            yield MeasurePoint(needs={**shared, state: digest}, model=model, index=index, state=state)

    with closing(context.engine.each(tasks(), context)) as found:
        return dict(found)


def _components(path: TrainingPath) -> Components | None:
    """Return the principal components, or None if the path has fewer than two."""
    try:
        return path.components()
    except UsageError:
        return None


def planes_of(context: Context, model: TrainedModel, stored: Mapping[tuple[str, str], StageRecord]) -> Planes:
    """Return the planes of all surfaces around `model`. `stored` has the stages of directions that do not come from seeds."""
    planes: dict[str, tuple[Any, Callable[[], DirectionPair] | None]] = {}
    for drawn in expand_surfaces(context.spec):
        record = stored.get((drawn.name, model.name))
        if model.name not in drawn.models:
            continue
        failed = record is None and drawn.spec.directions.kind != "random"
        planes[drawn.name] = (
            (None, None) if failed else (directions_inputs(drawn, record), partial(_directions, context, drawn, model))
        )
    return planes


def _directions(context: Context, drawn: DrawnSurface, model: TrainedModel) -> DirectionPair:
    module = load_theta(context.run, model, signature=context.dataset.signature)
    return direction_pair(context.run, drawn, model.name, module)


def trajectory_of(model: TrainedModel) -> TrajectorySpec:
    """Return the settings of the path of `model`, which must exist."""
    trajectory = model.spec.training.trajectory
    assert trajectory is not None  # noqa: S101
    return trajectory
