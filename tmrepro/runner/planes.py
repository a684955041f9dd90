"""Stage planes/NAME: the final minimum.json, with how far the loss goes below that of theta* in each plane.

`minimum/NAME` records theta* before there are surfaces. Only the surfaces show whether a lower point exists. So
minimum.json belongs to this stage; until then, there is a preliminary one without planes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tmrepro.records import Minimum
from tmrepro.runner.context import Context, run_stage
from tmrepro.runner.outputs import Statistics
from tmrepro.store.minima import read_minimum, save_minimum
from tmrepro.store.stages import StageRecord

DEPTH = "depth_below_minimum"


def depths_of(statistics: Statistics, model: str) -> dict[str, float | None]:
    """Return by surface how far its lowest point is below theta* of `model` (nats); None if the loss at theta* is not finite."""
    return {surface: models[model][DEPTH] for surface, models in statistics.items() if model in models}


def store_planes(
    context: Context,
    minimum: Minimum,
    *,
    stage: StageRecord,
    surfaces: Mapping[tuple[str, str], StageRecord],
    statistics: Statistics,
) -> Minimum:
    """Write models/NAME/minimum.json. `stage` is the one that found `minimum`; `surfaces` are those of the run."""
    folder = f"models/{minimum.model}"
    own = {surface: record.key for (surface, model), record in surfaces.items() if model == minimum.model}

    def compute() -> tuple[list[str], dict[str, Any]]:
        whole = replace(minimum, depth_below_minimum=depths_of(statistics, minimum.model))
        return [save_minimum(context.run, whole, work=context.work)], {"folder": folder}

    run_stage(
        context,
        f"planes/{minimum.model}",
        inputs={"minimum": stage.key, "surfaces": own},
        folder=folder,
        compute=compute,
    )
    return read_minimum(context.run, minimum.model)
