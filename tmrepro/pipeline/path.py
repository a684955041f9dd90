"""Stage trajectory/NAME: the path of training, from the points that were put aside while the network trained.

The points lie in .work and are gone with it, unless the spec keeps them. Where one is missing (the training was taken over from
another run) the network is trained again, which gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from tmrepro.components import Components, principal_components
from tmrepro.directions import DirectionPair, surface_directions
from tmrepro.errors import ComputeError, UsageError
from tmrepro.inference import Targets, evaluate, gradient_norm
from tmrepro.parameters import Layout, layout_of, theta_of
from tmrepro.pipeline.context import Context, computing, run_stage
from tmrepro.pipeline.models import relabelled, restore, state_path, train_with_checkpoints, users_code
from tmrepro.pipeline.surfaces import directions_inputs, stored_vectors
from tmrepro.spec import DrawnSurface, TrainedModel, TrajectorySpec, expand_surfaces
from tmrepro.store.stages import StageRecord
from tmrepro.store.tensors import load_tensors, save_tensors
from tmrepro.store.trajectories import save_trajectory
from tmrepro.training import path_epochs
from tmrepro.training.loop import reestimate_batch_norm
from tmrepro.trajectory import away_from, follow, place_in
from tmrepro.view import load_theta


class TrainingPath:
    """The points of the path of `model`, by epoch, and theta*, from where they are seen.

    Raises:
        ComputeError: a point is missing, and training again for it gave another theta*.
    """

    def __init__(self, context: Context, model: TrainedModel, training: StageRecord) -> None:
        trained = restore(context, model, training)
        self.module = trained.model
        self.layout: Layout = layout_of(self.module)
        self.theta_star = theta_of(self.module)
        self.epochs = path_epochs(
            every=trajectory_of(model).every, epochs=len(trained.history.epochs), best_epoch=trained.best_epoch
        )
        self._name = model.name
        self._paths = [
            state_path(context.run, model.name, key=training.key, seed=trained.seed, epoch=epoch)
            for epoch in self.epochs
        ]
        if not all(path.exists() for path in self._paths):
            self._train_again(context, model, training)

    def state(self, index: int) -> dict[str, np.ndarray]:
        """Parameters and buffers at point `index`."""
        return load_tensors(self._paths[index], name=self._called(index))

    def theta(self, index: int) -> np.ndarray:
        """The parameters [n] at point `index`."""
        state = self.state(index)
        return np.concatenate([state[parameter.name].reshape(-1) for parameter in self.layout])

    def components(self) -> Components:
        """The principal components of the path.

        Raises:
            UsageError: it has no two: it is too short, or a line.
        """
        buffers = frozenset(self.module.state_dict()) - {parameter.name for parameter in self.layout}
        return principal_components(self._paths, origin=self.theta_star, layout=self.layout, others=buffers)

    def _called(self, index: int) -> str:
        return f"the path of {self._name} at epoch {self.epochs[index]}"

    def _train_again(self, context: Context, model: TrainedModel, training: StageRecord) -> None:
        context.reporter.note(
            f"{self._name} is trained again for its path, since only training itself can tell it "
            "and the points were gone with the run it was taken from"
        )
        again = train_with_checkpoints(context, model, key=training.key)
        if not np.array_equal(theta_of(again.model), self.theta_star):
            raise ComputeError(
                f"{self._name}: trained again for its path, it reached another theta*; leave out --reuse, so that both come "
                "from one training"
            )


def store_trajectory(
    context: Context,
    model: TrainedModel,
    *,
    training: StageRecord,
    minimum: StageRecord,
    planes: Mapping[str, tuple[Any, Callable[[], DirectionPair]]],
) -> StageRecord:
    """Write models/NAME/trajectory.csv, and the weights if they are wanted.

    `planes`: for each surface what identifies its plane, and a function that gives its directions.
    """
    folder, spec, name = f"models/{model.name}", trajectory_of(model), model.name
    inputs = {
        "minimum": minimum.key,
        "training": training.key,
        "trajectory": spec.model_dump(mode="json"),
        "planes": {surface: identity for surface, (identity, _) in planes.items()},
    }

    def compute() -> tuple[list[str], dict[str, Any]]:
        with computing(f"the path of {name}", users_code=users_code(model.spec)):
            path = TrainingPath(context, model, training)
            found = _components(path)
            points = follow(
                path.epochs,
                path.theta,
                theta_star=path.theta_star,
                components=None if found is None else found.coordinates,
                measure=lambda index: _measure(context, model, path, index),
            )
            for surface, (_, directions) in planes.items():
                pair = directions()
                for index in range(len(points)):
                    place = place_in(away_from(path.theta_star, path.theta(index)), pair.delta, pair.eta)
                    points[index] = replace(points[index], places={**points[index].places, surface: place})
            files = [save_trajectory(context.run, name, points, work=context.work)]
            for index, epoch in enumerate(path.epochs if spec.weights else ()):
                files.append(f"{folder}/trajectory/{epoch}.safetensors")
                save_tensors(context.run / files[-1], path.state(index), work=context.work)
        return files, {"folder": folder, "explained": None if found is None else found.explained.tolist()}

    return run_stage(context, f"trajectory/{name}", inputs=inputs, folder=folder, compute=compute)


def _components(path: TrainingPath) -> Components | None:
    """The principal components; None where the path has no two."""
    try:
        return path.components()
    except UsageError:
        return None


def planes_of(
    context: Context, model: TrainedModel, stored: Mapping[tuple[str, str], StageRecord]
) -> dict[str, tuple[Any, Callable[[], DirectionPair]]]:
    """The planes of all surfaces around `model`; `stored` has the stages of the directions that no seed gives."""
    planes = {}
    for drawn in expand_surfaces(context.spec):
        record = stored.get((drawn.name, model.name))
        if model.name in drawn.models and (record is not None or drawn.spec.directions.kind == "random"):
            planes[drawn.name] = (directions_inputs(drawn, record), partial(_directions, context, drawn, model))
    return planes


def _directions(context: Context, drawn: DrawnSurface, model: TrainedModel) -> DirectionPair:
    module = load_theta(context.run, model, classes=context.examples.classes, size=context.spec.data.size)
    return surface_directions(
        drawn.spec.directions,
        seeds=drawn.seeds,
        vectors=stored_vectors(context.run, drawn, model.name, module),
        theta=theta_of(module),
        layout=layout_of(module),
    )


def trajectory_of(model: TrainedModel) -> TrajectorySpec:
    """The spec's wish for the path of `model`, which must be there."""
    trajectory = model.spec.training.trajectory
    assert trajectory is not None  # noqa: S101
    return trajectory


def _measure(context: Context, model: TrainedModel, path: TrainingPath, index: int) -> tuple[float, float]:
    """Loss on X~ (nats) and the norm of its gradient; batch norm is re-estimated where it is for theta*."""
    module, examples, training = path.module, context.examples, model.spec.training
    module.load_state_dict({name: torch.from_numpy(value) for name, value in path.state(index).items()})
    if training.reestimate_batch_norm:
        reestimate_batch_norm(module, examples.inputs, batch_size=training.batch_size)
    targets = Targets(relabelled(context, model.name), training.clip_probability)
    loss = evaluate(module.eval(), examples.inputs, targets=targets).loss
    return loss, gradient_norm(module, examples.inputs, targets=targets)
