"""The stage of one surface of one model: directions, grid, chunks. It is resumed chunk by chunk."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any

from pydantic import TypeAdapter

from tmrepro.records import Surface
from tmrepro.runner.context import Context, computing, run_stage
from tmrepro.runner.planning import EvaluateChunk, JudgeSurface, Plan, PlanSurface
from tmrepro.runner.preview import draw_preview
from tmrepro.runner.trainings import users_code
from tmrepro.runner.workspace import Needs
from tmrepro.spec import DrawnSurface, TrainedModel
from tmrepro.store.atomic import remove
from tmrepro.store.litter import find_litter
from tmrepro.store.run_files import STORE, THETA, model_file
from tmrepro.store.stages import StageRecord, stage_key
from tmrepro.store.surface_group import SurfaceGroup
from tmrepro.store.surfaces import create_surface
from tmrepro.surface.executors import Chunk
from tmrepro.surface.grid import coarse_first, lattice_step
from tmrepro.surface.selection import Rejection

REJECTED = "evaluators_rejected"  # a fact of a stage
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
    """Stage surface/SURFACE/MODEL: the zarr group, with all chunks.

    `directions` is the stage that stored the directions, if they do not come from seeds.
    """
    spec, name = drawn.spec, f"surface/{drawn.name}/{model.name}"
    folder = f"{STORE}/{drawn.name}/{model.name}"
    inputs = {
        "platform": context.platform,
        # X~ depends on how the data were relabelled. X does not.
        "model": minimum.key if spec.labels == "relabelled" else training.key,
        "surface": spec.model_dump(mode="json", exclude={"name", "models"})
        | {"directions": directions_inputs(drawn, directions)},
        "evaluator": context.evaluator or "by rule",
    }
    key = stage_key(inputs)
    needs = surface_needs(drawn, model, training=training, minimum=minimum, directions=directions)

    def compute() -> tuple[list[str], dict[str, Any]]:
        with computing(f"surface {drawn.name} of {model.name}", users_code=users_code(model.spec)):
            facts = _fill(context, drawn, model, stage=name, needs=needs, rejected=rejected or ())
        written = [path for path in sorted((context.run / folder).rglob("*")) if path.is_file()]
        files = [path.relative_to(context.run).as_posix() for path in written if not find_litter(path.name)]
        return files, {"folder": folder, **facts}

    earlier = context.book.get(name)
    rejected = None if earlier is None or earlier.key != key else _recorded_rejections(earlier)
    if rejected is None:
        remove(context.run / folder)  # chunks with other inputs, or from an unknown evaluator
    return run_stage(context, name, inputs=inputs, folder=folder, compute=compute, may_continue=True)


def _fill(
    context: Context,
    drawn: DrawnSurface,
    model: TrainedModel,
    *,
    stage: str,
    needs: Needs,
    rejected: Sequence[Rejection],
) -> dict[str, Any]:
    """Evaluate, measure and store a surface. If the error is over the bound, do it again with the next evaluator.

    Return the facts for provenance.json.
    """
    spec, engine = drawn.spec, context.engine
    told = f"{drawn.name}/{model.name}"
    while True:
        plan = engine.call(PlanSurface(needs=needs, drawn=drawn, model=model, rejected=tuple(rejected)), context)
        group = create_surface(context.run, drawn.name, model.name, grid=plan.grid, chunk=spec.chunk, facts=plan.facts)
        _evaluate_missing(context, drawn, model, group=group, plan=plan, needs=needs)
        loss, accuracy = group.part()
        surface = Surface(loss=loss, accuracy=accuracy, a=plan.grid.a, b=plan.grid.b)
        found = engine.call(
            JudgeSurface(
                needs=needs,
                drawn=drawn,
                model=model,
                rejected=tuple(rejected),
                evaluator=plan.evaluator,
                surface=surface,
            ),
            context,
        )
        if found.rejected is None:
            break
        rejected = [*rejected, found.rejected]
        context.reporter.note(f"{told}: {found.rejected.reason}; the next evaluator is used")
        # First the chunks, then the record: otherwise a continued run could use chunks of another evaluator.
        remove(context.run / f"{STORE}/{drawn.name}/{model.name}")
        _record_rejections(context, stage, rejected)
    context.prepared.clear()
    error = found.error
    assert error is not None  # noqa: S101
    for words in (*(one.reason for one in plan.tried), *([error.note] if error.note else [])):
        context.reporter.note(f"{told}: {words}")
    facts = replace(plan.facts, error=error)
    create_surface(context.run, drawn.name, model.name, grid=plan.grid, chunk=spec.chunk, facts=facts)
    how: dict[str, Any] = {
        "evaluator": plan.evaluator,
        "evaluator_reason": plan.reason,
        "evaluator_blocks": plan.blocks,
    }
    if rejected:
        how[REJECTED] = [asdict(one) for one in rejected]
    if found.precision_error is not None:
        how["precision_error"] = found.precision_error
    return how


def _evaluate_missing(
    context: Context, drawn: DrawnSurface, model: TrainedModel, *, group: SurfaceGroup, plan: Plan, needs: Needs
) -> None:
    """Evaluate and store every chunk that is missing or damaged."""
    spec, grid = drawn.spec, plan.grid
    wanted, done, total = [], 0, spec.grid.K**2
    for index, rows, columns in group.layout.chunks():
        if group.is_whole(index):
            done += len(grid.a[rows]) * len(grid.b[columns])
        else:
            wanted.append((index, rows, columns))
    home = (grid.home[0] // spec.chunk, grid.home[1] // spec.chunk)
    wanted.sort(key=lambda chunk: coarse_first(chunk[0], home=home))
    missing = Counter(lattice_step(index, home=home) for index, _, _ in wanted)
    context.reporter.chunk(drawn.name, model.name, points_done=done, points=total)
    tasks = (
        EvaluateChunk(
            needs=needs,
            drawn=drawn,
            model=model,
            evaluator=plan.evaluator,
            chunk=Chunk(index, grid.a[rows], grid.b[columns]),
        )
        for index, rows, columns in wanted
    )
    with closing(context.engine.each(tasks, context)) as results:  # an error here cancels the tasks under way
        for result in results:
            group.write(result.index, result.loss, result.accuracy)
            done += result.loss.size
            context.reporter.chunk(drawn.name, model.name, points_done=done, points=total)
            step = lattice_step(result.index, home=home)
            missing[step] -= 1
            if context.preview and not missing[step]:
                draw_preview(context, drawn, model.name, grid=grid, facts=plan.facts, points_done=done)


def _recorded_rejections(record: StageRecord) -> list[Rejection] | None:
    """Return the evaluators that were rejected before an interruption; None if the record is damaged."""
    try:
        return _REJECTIONS.validate_json(json.dumps(record.facts.get(REJECTED, [])), strict=True)
    except ValueError:
        return None


def _record_rejections(context: Context, stage: str, rejected: Sequence[Rejection]) -> None:
    record = context.book.get(stage)
    assert record is not None  # noqa: S101 - `run_stage` has put it
    facts = {**record.facts, REJECTED: [asdict(one) for one in rejected]}
    context.book.put(replace(record, facts=facts, files={}, complete=False))


def surface_needs(
    drawn: DrawnSurface,
    model: TrainedModel,
    *,
    training: StageRecord,
    minimum: StageRecord,
    directions: StageRecord | None,
) -> Needs:
    """Return the files that the tasks of a surface read: theta*, y~ if the surface is on X~, stored directions."""
    theta = model_file(model.name, THETA)
    needs = {theta: training.files[theta]}
    if drawn.spec.labels == "relabelled":
        needs |= minimum.files
    return needs if directions is None else needs | directions.files


def directions_inputs(drawn: DrawnSurface, stored: StageRecord | None) -> dict[str, Any]:
    """Return what the directions depend on besides theta*. `stored` is the stage of directions that do not come from seeds."""
    spec = drawn.spec.directions.model_dump(mode="json", exclude={"kind", "between"})
    if stored is not None:
        return {"normalization": spec["normalization"], "stored": stored.key}
    return spec | {"seeds": {"delta": drawn.seeds[0], "eta": drawn.seeds[1]}}
