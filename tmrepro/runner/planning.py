"""The tasks of one surface of one model: choose the evaluator, evaluate the chunks, measure the error.

They share the network, its directions and the evaluator. Each process makes these once, and keeps them in the workspace.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from tmrepro.directions.gaussian import DirectionPair, surface_directions
from tmrepro.directions.trajectory import place_in
from tmrepro.networks.parameters import layout_of, norm_of, theta_of
from tmrepro.numerics.inference import targets_of
from tmrepro.records import Grid, Mark, Surface, SurfaceError, SurfaceFacts
from tmrepro.runner.cluster import Task
from tmrepro.runner.context import computing
from tmrepro.runner.models import relabelled
from tmrepro.runner.trainings import users_code
from tmrepro.runner.view import stored_vectors
from tmrepro.runner.weights import load_theta
from tmrepro.runner.workspace import Workspace
from tmrepro.spec import CustomModel, DrawnSurface, SurfaceSpec, TrainedModel, TrainingSpec
from tmrepro.store.directions import Vectors
from tmrepro.surface import Problem, build_grid, find_evaluator
from tmrepro.surface.conduct import examine
from tmrepro.surface.executors import Chunk, ChunkResult, evaluate
from tmrepro.surface.measured import Lattice
from tmrepro.surface.precision import LOWER, measure_precision_error
from tmrepro.surface.problem import Evaluator
from tmrepro.surface.selection import Rejection, Selector


@dataclass(frozen=True)
class Plan:
    """How a surface is evaluated: the grid, the evaluator and why; `tried` were rejected before any evaluation."""

    grid: Grid
    facts: SurfaceFacts
    evaluator: str
    reason: str
    blocks: dict[str, int]
    tried: tuple[Rejection, ...]


@dataclass(frozen=True)
class Judgement:
    """The measured error of a surface; None with the reason if the evaluator is rejected."""

    error: SurfaceError | None
    rejected: Rejection | None
    precision_error: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class SurfaceTask:
    """A task of one surface of one model."""

    drawn: DrawnSurface
    model: TrainedModel

    @property
    def users_code(self) -> str | None:
        """The factory of a custom model, for messages about its failures."""
        return users_code(self.model.spec)

    @property
    def what(self) -> str:
        """The name of the surface in messages."""
        return f"surface {self.drawn.name} of {self.model.name}"


@dataclass(frozen=True, kw_only=True)
class PlanSurface(SurfaceTask, Task[Plan]):
    """Choose the evaluator. `rejected` are those whose error was over the bound."""

    rejected: tuple[Rejection, ...]

    def compute(self, workspace: Workspace) -> Plan:
        """See `Task.compute`."""
        with computing(self.what, users_code=self.users_code):
            ready = _prepared(self, workspace)
            ready.selector.rejected = list(self.rejected)
            choice = ready.selector.choose()
            blocks = choice.kind.blocks(ready.problem)
            tried = tuple(ready.selector.tried)
            return Plan(ready.grid, ready.facts, choice.kind.name, choice.reason, blocks, tried)


@dataclass(frozen=True, kw_only=True)
class EvaluateChunk(SurfaceTask, Task[ChunkResult]):
    """Evaluate one chunk."""

    evaluator: str
    chunk: Chunk

    def compute(self, workspace: Workspace) -> ChunkResult:
        """See `Task.compute`."""
        with computing(self.what, users_code=self.users_code):
            return evaluate(_prepared(self, workspace).evaluator(self.evaluator), self.chunk)


@dataclass(frozen=True, kw_only=True)
class JudgeSurface(SurfaceTask, Task[Judgement]):
    """Measure the error of a whole surface."""

    rejected: tuple[Rejection, ...]
    evaluator: str
    surface: Surface

    def compute(self, workspace: Workspace) -> Judgement:
        """See `Task.compute`."""
        with computing(self.what, users_code=self.users_code):
            ready = _prepared(self, workspace)
            ready.forget_evaluator()
            ready.selector.rejected = list(self.rejected)
            error = ready.selector.judge(find_evaluator(self.evaluator), self.surface.loss)
            if error is None:
                return Judgement(None, ready.selector.rejected[-1], None)
            lower = None
            if ready.problem.precision in LOWER:
                lower = asdict(measure_precision_error(ready.problem, self.surface, ready.lattice))
            return Judgement(error, None, lower)


class _Prepared:
    """What the tasks of one surface share."""

    def __init__(self, task: SurfaceTask, workspace: Workspace) -> None:
        spec, model = task.drawn.spec, task.model
        module = load_theta(workspace.run, model, signature=workspace.dataset.signature)
        labels = workspace.examples.labels if spec.labels == "original" else relabelled(workspace, model.name)
        problem, self.grid, self.facts = surface_problem(
            module.to(workspace.device),
            spec,
            seeds=task.drawn.seeds,
            vectors=stored_vectors(workspace.run, task.drawn, model.name, module),
            inputs=workspace.examples.inputs,
            labels=labels,
            training=model.spec.training,
        )
        if isinstance(model.spec, CustomModel):
            conduct = examine(problem.model, problem.inputs, name=f"model {model.name!r}")
            problem = replace(problem, conduct=conduct)
        self.problem, self.lattice = problem, lattice_of(self.grid, chunk=spec.chunk)
        self.selector = Selector(problem, self.lattice, forced=workspace.evaluator, level=workspace.determinism.level)
        self._evaluator: Evaluator | None = None

    def evaluator(self, name: str) -> Evaluator:
        """Return the evaluator of that name. It is made once."""
        if self._evaluator is None or self._evaluator.name != name:
            self._evaluator = find_evaluator(name)(self.problem)
        return self._evaluator

    def forget_evaluator(self) -> None:
        """Free the memory of the evaluator."""
        self._evaluator = None


def _prepared(task: Any, workspace: Workspace) -> _Prepared:
    """Return what the tasks of the surface of `task` share. That of another surface is dropped."""
    key = task.drawn.name, task.model.name, tuple(task.needs.items())
    if key not in workspace.prepared:
        workspace.prepared.clear()
        workspace.prepared[key] = _Prepared(task, workspace)
    found: _Prepared = workspace.prepared[key]
    return found


def surface_problem(
    module: nn.Module,
    spec: SurfaceSpec,
    *,
    seeds: tuple[int, int],
    vectors: Vectors | None,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    training: TrainingSpec,
) -> tuple[Problem, Grid, SurfaceFacts]:
    """Return the problem, the grid and the facts of a surface, from theta* and the spec."""
    theta, layout = theta_of(module), layout_of(module)
    pair = surface_directions(spec.directions, seeds=seeds, vectors=vectors, theta=theta, layout=layout)
    theta_norm = norm_of(theta)
    grid = build_grid(
        spec.grid.K, origin=spec.grid.origin, step=spec.grid.step, unit=spec.grid.unit, theta_norm=theta_norm
    )
    images = len(inputs) if spec.samples is None else spec.samples
    targets = targets_of(labels[:images], loss=training.loss, clip=training.clip_probability)
    problem = Problem(module, pair, inputs[:images], targets, spec.precision)
    facts = SurfaceFacts(pair.delta_facts, pair.eta_facts, pair.cosine, theta_norm, images, spec.labels)
    return problem, grid, replace(facts, marks=_marks(spec, vectors, pair))


def lattice_of(grid: Grid, *, chunk: int) -> Lattice:
    """Return the points of a run's surface, for measuring its error."""
    return Lattice(grid.a, grid.b, grid.home, min(chunk, len(grid.a)))


def _marks(spec: SurfaceSpec, vectors: Vectors | None, pair: DirectionPair) -> tuple[Mark, ...]:
    """Return the positions of the two other minima in a plane between minima."""
    marks = []
    for name, vector in zip(spec.directions.between or (), vectors or (), strict=False):
        place = place_in(vector, pair.delta, pair.eta)
        if place.a is not None and place.b is not None:
            marks.append(Mark(name, place.a, place.b))
    return tuple(marks)
