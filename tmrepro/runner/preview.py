"""The preview of a surface while it is computed, for `tmrepro run --preview`: drawn from the chunks so far.

It is in .work, which is removed when the run is complete. Nothing in the finished folder depends on it.
"""

from __future__ import annotations

from pathlib import Path

from tmrepro.records import Grid, SurfaceFacts
from tmrepro.reporting.figures import Panel, draw_landscape, render
from tmrepro.runner.context import Context
from tmrepro.spec import LOSS_UNITS, DrawnSurface
from tmrepro.store.atomic import WORK, write_bytes
from tmrepro.store.minima import read_minimum
from tmrepro.store.surfaces import read_part

FOLDER = "preview"


def draw_preview(
    context: Context, drawn: DrawnSurface, model: str, *, grid: Grid, facts: SurfaceFacts, points_done: int
) -> Path:
    """Draw RUN/.work/preview/SURFACE.MODEL.png from the chunks so far, note its path, and return it."""
    surface = read_part(context.run, drawn.name, model, grid=grid)
    category = read_minimum(context.run, model).category
    panel = Panel(model=model, category=category, surface=surface, facts=facts, home=grid.home)
    total = surface.loss.size
    state = (
        "complete"
        if points_done == total
        else f"{points_done} of {total} points, hatched: still to come, or not finite"
    )
    figure = draw_landscape(
        [panel],
        title=f"PREVIEW ({state})  {context.spec.name}: {drawn.name}",
        scale=context.spec.figures.scale,
        shared=False,
        directions=drawn.spec.directions.describe(),
        labels=drawn.spec.labels,
        unit=LOSS_UNITS[context.spec.models[0].training.loss],
    )
    figure.text(0.5, 0.5, "PREVIEW", size=48, color="0.5", alpha=0.35, rotation=25, ha="center", va="center")
    path = context.run / WORK / FOLDER / f"{drawn.name}.{model}.png"
    write_bytes(path, render(figure, "png"), work=context.work)
    context.reporter.note(f"preview of {drawn.name}/{model} ({state}): {path}")
    return path
