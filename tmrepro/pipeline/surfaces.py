"""The stage of one surface of one model: directions, grid, chunks. Resumed chunk by chunk."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import nn

from tmrepro.directions import DirectionPair, surface_directions
from tmrepro.inference import targets_of
from tmrepro.parameters import layout_of, norm_of, theta_of
from tmrepro.pipeline.context import Context, computing, run_stage
from tmrepro.pipeline.models import relabelled, users_code
from tmrepro.pipeline.preview import draw_preview
from tmrepro.records import Grid, Mark, SurfaceFacts
from tmrepro.spec import CustomModel, DrawnSurface, SurfaceSpec, TrainedModel, TrainingSpec
from tmrepro.store.atomic import remove
from tmrepro.store.directions import Vectors
from tmrepro.store.litter import find_litter
from tmrepro.store.stages import StageRecord, stage_key
from tmrepro.store.surfaces import chunk_is_whole, chunk_slices, create_surface, read_part, write_chunk
from tmrepro.surface import Problem, build_grid, evaluate_chunks
from tmrepro.surface.conduct import examine
from tmrepro.surface.executors import Chunk
from tmrepro.surface.measured import Lattice
from tmrepro.surface.order import coarse_first, lattice_step
from tmrepro.surface.precision import LOWER, measure_precision_error
from tmrepro.surface.problem import EvaluatorKind
from tmrepro.surface.selection import Rejection, Selector
from tmrepro.trajectory import place_in
from tmrepro.view import load_theta, stored_vectors

REJECTED = "evaluators_rejected"  # of a stage's facts
_REJECTIONS = TypeAdapter(list[Rejection])


def evaluate_surface(
    context: Context,
    drawn: DrawnSurface,
    model: TrainedModel,
    *,
    training: StageRecord,
    minimum: StageRecord,
    directions: StageRecord | None,
) -> StageRecord:
    """Stage surface/SURFACE/MODEL: the zarr group, its chunks first to last.

    `directions` is the stage that stored the directions, where no seed gives them.
    """
    spec, name = drawn.spec, f"surface/{drawn.name}/{model.name}"
    folder = f"surfaces.zarr/{drawn.name}/{model.name}"
    inputs = {
        "platform": context.platform,
        # X~ depends on how the data were relabelled; X does not.
        "model": minimum.key if spec.labels == "relabelled" else training.key,
        "surface": spec.model_dump(mode="json", exclude={"name", "models"})
        | {"directions": directions_inputs(drawn, directions)},
        "evaluator": context.evaluator or "by rule",
    }
    key = stage_key(inputs)

    def compute() -> tuple[list[str], dict[str, Any]]:
        with computing(f"surface {drawn.name} of {model.name}", users_code=users_code(model.spec)):
            facts = _fill(context, drawn, model, stage=name, rejected=rejected or ())
        written = [path for path in sorted((context.run / folder).rglob("*")) if path.is_file()]
        files = [path.relative_to(context.run).as_posix() for path in written if not find_litter(path.name)]
        return files, {"folder": folder, **facts}

    earlier = context.book.get(name)
    rejected = None if earlier is None or earlier.key != key else _recorded_rejections(earlier)
    if rejected is None:
        remove(context.run / folder)  # chunks that answer another question, or of nobody knows which evaluator
    return run_stage(context, name, inputs=inputs, folder=folder, compute=compute, may_continue=True)


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
    """What is evaluated, where, and what makes its axes mean something: all that follows from theta* and the spec."""
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
    """The points of a run's surface, for who measures it."""
    return Lattice(grid.a, grid.b, grid.home, min(chunk, len(grid.a)))


def _fill(
    context: Context, drawn: DrawnSurface, model: TrainedModel, *, stage: str, rejected: Sequence[Rejection]
) -> dict[str, Any]:
    """Evaluate, measure and store a surface, by the next evaluator if the first is beyond the bound.

    Returns how, for provenance.json.
    """
    spec = drawn.spec
    module = load_theta(context.run, model, signature=context.dataset.signature)
    problem, grid, facts = surface_problem(
        module.to(context.device),
        spec,
        seeds=drawn.seeds,
        vectors=stored_vectors(context.run, drawn, model.name, module),
        inputs=context.examples.inputs,
        labels=_labels(context, spec, model.name),
        training=model.spec.training,
    )
    if isinstance(model.spec, CustomModel):
        conduct = examine(problem.model, problem.inputs, name=f"model {model.name!r}")
        problem = replace(problem, conduct=conduct)
    lattice = lattice_of(grid, chunk=spec.chunk)
    selector = Selector(
        problem,
        lattice,
        forced=context.evaluator,
        level=context.determinism.level,
        rejected=rejected,
    )
    while True:
        choice = selector.choose()
        create_surface(context.run, drawn.name, model.name, grid=grid, chunk=spec.chunk, facts=facts)
        _evaluate_missing(context, drawn, model, problem=problem, grid=grid, facts=facts, kind=choice.kind)
        surface = read_part(context.run, drawn.name, model.name, grid=grid)
        error = selector.judge(choice.kind, surface.loss)
        if error is not None:
            break
        context.reporter.note(f"{drawn.name}/{model.name}: {selector.rejected[-1].reason}; the next evaluator is taken")
        # First the chunks, then the record: whoever continues takes no chunk for one of another evaluator.
        remove(context.run / f"surfaces.zarr/{drawn.name}/{model.name}")
        _record_rejections(context, stage, selector.rejected)
    for words in (*(one.reason for one in selector.tried), *([error.note] if error.note else [])):
        context.reporter.note(f"{drawn.name}/{model.name}: {words}")
    create_surface(context.run, drawn.name, model.name, grid=grid, chunk=spec.chunk, facts=replace(facts, error=error))
    how: dict[str, Any] = {
        "evaluator": choice.kind.name,
        "evaluator_reason": choice.reason,
        "evaluator_blocks": choice.kind.blocks(problem),
    }
    if selector.rejected:
        how[REJECTED] = [asdict(one) for one in selector.rejected]
    if problem.precision in LOWER:
        how["precision_error"] = asdict(measure_precision_error(problem, surface, lattice))
    return how


def _evaluate_missing(
    context: Context,
    drawn: DrawnSurface,
    model: TrainedModel,
    *,
    problem: Problem,
    grid: Grid,
    facts: SurfaceFacts,
    kind: EvaluatorKind,
) -> None:
    """Evaluate and store every chunk that is not there whole."""
    spec = drawn.spec
    wanted, done, total = [], 0, spec.grid.K**2
    for index, rows, columns in chunk_slices(spec.grid.K, spec.chunk):
        if chunk_is_whole(context.run, drawn.name, model.name, index):
            done += len(grid.a[rows]) * len(grid.b[columns])
        else:
            wanted.append(Chunk(index, grid.a[rows], grid.b[columns]))
    home = (grid.home[0] // spec.chunk, grid.home[1] // spec.chunk)
    wanted.sort(key=lambda chunk: coarse_first(chunk.index, home=home))
    missing = Counter(lattice_step(chunk.index, home=home) for chunk in wanted)
    context.reporter.chunk(drawn.name, model.name, points_done=done, points=total)
    results = evaluate_chunks(
        problem,
        chunks=wanted,
        workers=context.workers,
        determinism=context.determinism,
        kind=kind,
    )
    with closing(results):  # whatever happens here ends the workers, which would otherwise be waited for
        for result in results:
            write_chunk(context.run, drawn.name, model.name, result.index, result.loss, result.accuracy)
            done += result.loss.size
            context.reporter.chunk(drawn.name, model.name, points_done=done, points=total)
            step = lattice_step(result.index, home=home)
            missing[step] -= 1
            if context.preview and not missing[step]:
                draw_preview(context, drawn, model.name, grid=grid, facts=facts, points_done=done)


def _recorded_rejections(record: StageRecord) -> list[Rejection] | None:
    """The evaluators that were rejected before a run was interrupted; None where somebody else wrote something else."""
    try:
        return _REJECTIONS.validate_json(json.dumps(record.facts.get(REJECTED, [])), strict=True)
    except ValueError:
        return None


def _record_rejections(context: Context, stage: str, rejected: Sequence[Rejection]) -> None:
    record = context.book.get(stage)
    assert record is not None  # noqa: S101 - `run_stage` has put it
    facts = {**record.facts, REJECTED: [asdict(one) for one in rejected]}
    context.book.put(replace(record, facts=facts, files={}, complete=False))


def _labels(context: Context, spec: SurfaceSpec, model: str) -> torch.Tensor:
    return context.examples.labels if spec.labels == "original" else relabelled(context, model)


def _marks(spec: SurfaceSpec, vectors: Vectors | None, pair: DirectionPair) -> tuple[Mark, ...]:
    """Where the two other minima of a plane between minima are in it."""
    marks = []
    for name, vector in zip(spec.directions.between or (), vectors or (), strict=False):
        place = place_in(vector, pair.delta, pair.eta)
        if place.a is not None and place.b is not None:
            marks.append(Mark(name, place.a, place.b))
    return tuple(marks)


def directions_inputs(drawn: DrawnSurface, stored: StageRecord | None) -> dict[str, Any]:
    """What the directions of a surface depend on beside theta*; `stored` is the stage of those that no seed gives."""
    spec = drawn.spec.directions.model_dump(mode="json", exclude={"kind", "between"})
    if stored is not None:
        return {"normalization": spec["normalization"], "stored": stored.key}
    return spec | {"seeds": {"delta": drawn.seeds[0], "eta": drawn.seeds[1]}}
