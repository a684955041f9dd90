"""Stage directions/SURFACE/NAME: the two directions of a surface that do not come from seeds, and so are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tmrepro.directions.gaussian import orthogonal_to
from tmrepro.directions.trajectory import away_from
from tmrepro.errors import ComputeError, UsageError
from tmrepro.landscape.curvature import Settings, top_eigenvectors
from tmrepro.networks.parameters import norm_of, theta_of
from tmrepro.numerics.inference import targets_of
from tmrepro.runner.cluster import Task
from tmrepro.runner.context import Context, computing, run_stage
from tmrepro.runner.models import relabelled
from tmrepro.runner.path import training_path, trajectory_of
from tmrepro.runner.surfaces import surface_needs
from tmrepro.runner.trainings import users_code
from tmrepro.runner.weights import load_theta
from tmrepro.runner.workspace import Workspace
from tmrepro.spec import DrawnSurface, TrainedModel, expand_models
from tmrepro.store.directions import Vectors, save_directions
from tmrepro.store.stages import StageRecord

LEAST_ANGLE = 1e-6  # least length of the part of a direction that is orthogonal to the other, as a share of its length


def store_surface_directions(
    context: Context,
    drawn: DrawnSurface,
    model: TrainedModel,
    *,
    trained: Mapping[str, StageRecord],
    minimum: StageRecord,
) -> StageRecord:
    """Write models/NAME/directions-SURFACE.safetensors. `trained` are the training stages of all networks.

    Raises:
        ComputeError: the directions do not span a plane: the path is a line, or three minima lie on one.
    """
    spec, folder = drawn.spec.directions, f"models/{model.name}"
    inputs: dict[str, Any] = {"platform": context.platform, "surface": drawn.name, "kind": spec.kind}
    match spec.kind:
        case "hessian":
            own = minimum if drawn.spec.labels == "relabelled" else trained[model.name]
            inputs |= {"theta": own.key, "samples": drawn.spec.samples, "seed": drawn.seeds[0]}
        case "pca":
            inputs |= {"theta": trained[model.name].key, "every": trajectory_of(model).every}
        case "between":
            inputs |= {"theta": trained[model.name].key, "between": [trained[name].key for name in spec.between or ()]}
        case _:
            raise TypeError(spec.kind)  # random directions come from seeds

    def compute() -> tuple[list[str], dict[str, Any]]:
        with computing(f"the directions of {drawn.name} around {model.name}", users_code=users_code(model.spec)):
            match spec.kind:
                case "hessian":
                    needs = surface_needs(drawn, model, training=trained[model.name], minimum=minimum, directions=None)
                    vectors, facts, notes = context.engine.call(
                        TopEigenvectors(needs=needs, drawn=drawn, model=model), context
                    )
                    for note in notes:
                        context.reporter.note(note)
                case "pca":
                    vectors, facts = _pca(context, model, trained[model.name])
                case "between":
                    vectors, facts = _between(context, drawn, model)
                case _:
                    raise TypeError(spec.kind)
        return [save_directions(context.run, drawn.name, model.name, vectors, work=context.work)], {
            "folder": folder,
            **facts,
        }

    return run_stage(context, f"directions/{drawn.name}/{model.name}", inputs=inputs, folder=folder, compute=compute)


def _pca(context: Context, model: TrainedModel, training: StageRecord) -> tuple[Vectors, dict[str, Any]]:
    try:
        found = training_path(context, model, training).components()
    except UsageError as error:
        raise ComputeError(
            f"{model.name}: its path of training spans no plane ({error}); record more points, with a smaller "
            "training.trajectory.every or more epochs"
        ) from error
    return (found.components[0], found.components[1]), {"explained": found.explained.tolist()}


def _between(context: Context, drawn: DrawnSurface, model: TrainedModel) -> tuple[Vectors, dict[str, Any]]:
    """Return the directions from theta* to the two other minima."""
    models = {one.name: one for one in expand_models(context.spec)}

    def theta(name: str) -> np.ndarray:
        return theta_of(load_theta(context.run, models[name], signature=context.dataset.signature))

    home, (first, second) = theta(model.name), drawn.spec.directions.between or ("", "")
    delta, eta = (away_from(home, theta(name)).astype(np.float32) for name in (first, second))
    if not norm_of(orthogonal_to(delta, eta)) > LEAST_ANGLE * norm_of(eta) or not delta.any():
        raise ComputeError(f"{drawn.name}: {model.name}, {first} and {second} lie on a line, so they span no plane")
    return (delta, eta), {}


@dataclass(frozen=True, kw_only=True)
class TopEigenvectors(Task[tuple[Vectors, dict[str, Any], tuple[str, ...]]]):
    """Compute the eigenvectors of the two largest eigenvalues of the Hessian at theta*. Return them, facts, and notes."""

    drawn: DrawnSurface
    model: TrainedModel

    def compute(self, workspace: Workspace) -> tuple[Vectors, dict[str, Any], tuple[str, ...]]:
        """See `Task.compute`."""
        name, spec, examples = self.model.name, self.drawn.spec, workspace.examples
        what = f"the directions of {self.drawn.name} around {name}"
        with computing(what, users_code=users_code(self.model.spec)):
            module = load_theta(workspace.run, self.model, signature=workspace.dataset.signature)
            labels = examples.labels if spec.labels == "original" else relabelled(workspace, name)
            images = len(examples.inputs) if spec.samples is None else spec.samples
            training, notes = self.model.spec.training, list[str]()
            targets = targets_of(labels[:images], loss=training.loss, clip=training.clip_probability)
            found = top_eigenvectors(
                module.to(workspace.device),
                examples.inputs[:images],
                targets,
                settings=Settings(top=2, seed=self.drawn.seeds[0]),
                tell=notes.append,
            )
        if not found.settled:
            notes.append(f"{self.drawn.name}/{name}: the eigenvectors are not converged; residuals {found.residuals}")
        first, second = (vector.cpu().numpy() for vector in found.vectors)
        facts = {
            "eigenvalues": found.values.tolist(), "residuals": found.residuals.tolist(), "converged": found.settled,
        }  # fmt: skip
        return (first, second), facts, tuple(notes)
