"""Finds the first difference between two finished runs, compared bit by bit, and likely reasons for it.

The stages are compared in the order in which they feed each other. So the first difference is where to look: all later ones
may follow from it. Times are ignored: provenance.json, ro-crate-metadata.json, report.html and claims.json, the last column of
history.csv, and the keys of minimum.json that end in `_seconds`. Neither torch nor the data are needed. `tmrepro verify` grades
how well two runs agree that are not bitwise identical.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tmrepro.comparison.provenance import likely_reasons
from tmrepro.comparison.stages import (
    Difference,
    Side,
    compare_code,
    compare_curvature,
    compare_data,
    compare_figures,
    compare_files,
    compare_minimum,
    compare_spec,
    compare_statistics,
    compare_surface,
    compare_training,
    compare_trajectory,
    is_of_path,
    mapping,
)
from tmrepro.errors import EXIT_DIFFERENT, EXIT_OK
from tmrepro.spec import expand_models, expand_surfaces
from tmrepro.store.run_files import (
    CURVATURE,
    HISTORY,
    LABELS,
    MINIMUM,
    SPEC,
    STATISTICS,
    STORE,
    THETA,
    VECTORS,
    model_file,
)
from tmrepro.usercode import version_changes

# Two spec.yaml can have the same meaning; the root of the store repeats the metadata of the surfaces.
_TOLD_OTHERWISE = frozenset({SPEC, f"{STORE}/zarr.json"})
_OF_A_MODEL = (HISTORY, THETA, LABELS, MINIMUM, CURVATURE, VECTORS)


@dataclass(frozen=True)
class StageComparison:
    """One stage of both runs. `difference` is None if the stage is bitwise identical."""

    stage: str
    difference: Difference | None


@dataclass(frozen=True)
class RunComparison:
    """All stages in order, and differences in code, packages and machines that may be the reason."""

    here: str
    there: str
    stages: tuple[StageComparison, ...]
    reasons: tuple[str, ...]

    @property
    def first(self) -> StageComparison | None:
        """The first stage that differs."""
        return next((stage for stage in self.stages if stage.difference is not None), None)

    @property
    def exit_code(self) -> int:
        """0 if the runs are identical, else 1."""
        return EXIT_OK if self.first is None else EXIT_DIFFERENT

    def document(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values."""
        first = self.first
        return {
            "here": self.here,
            "there": self.there,
            "same": first is None,
            "exit_code": self.exit_code,
            "first": None if first is None else _stage_document(first),
            "stages": [_stage_document(stage) for stage in self.stages],
            "reasons": list(self.reasons),
        }


def compare_runs(here: Path, there: Path) -> RunComparison:
    """Compare two finished runs, `here` and `there`.

    Raises:
        DamagedError: a run is not finished, or differs from its manifest.
    """
    ours, theirs = Side(here), Side(there)
    stages = tuple(StageComparison(name, next(found, None)) for name, found in _stages(ours, theirs))
    reasons = [*likely_reasons(ours.provenance, theirs.provenance), *_versions(ours, theirs)]
    return RunComparison(str(here), str(there), stages, tuple(reasons))


def _stages(ours: Side, theirs: Side) -> Iterator[tuple[str, Iterator[Difference]]]:
    """Yield every stage of either run, in the order of `ours`, with its differences."""

    def below(folder: str) -> set[str]:
        return {*ours.under(folder), *theirs.under(folder)}

    told = {*_TOLD_OTHERWISE, STATISTICS, *below("figures/")}
    yield "spec", compare_spec(ours, theirs)
    if ours.code or theirs.code:
        yield "code", compare_code(ours, theirs)
    yield "data", compare_data(ours, theirs)
    models = list(dict.fromkeys(model.name for side in (ours, theirs) for model in expand_models(side.spec)))
    for model in models:
        yield f"training/{model}", compare_training(ours, theirs, model)
        yield f"minimum/{model}", compare_minimum(ours, theirs, model)
        of_path = {path for path in below(f"models/{model}/") if is_of_path(path)}
        if of_path:
            yield f"trajectory/{model}", compare_trajectory(ours, theirs, model)
        if {model_file(model, name) for name in (CURVATURE, VECTORS)} & below(f"models/{model}/"):
            yield f"curvature/{model}", compare_curvature(ours, theirs, model)
        told |= {model_file(model, name) for name in _OF_A_MODEL} | of_path
    pairs = [
        (drawn.name, model) for side in (ours, theirs) for drawn in expand_surfaces(side.spec) for model in drawn.models
    ]
    for surface, model in dict.fromkeys(pairs):
        yield f"surface/{surface}/{model}", compare_surface(ours, theirs, surface, model)
        told |= below(f"{STORE}/{surface}/{model}/")
    yield "statistics", compare_statistics(ours, theirs)
    yield "figures", compare_figures(ours, theirs)
    yield "other files", compare_files(ours, theirs, told)


def _versions(ours: Side, theirs: Side) -> Iterator[str]:
    """Yield changed versions of packages that the user's code imports, except those that every run records."""
    told = mapping(ours.provenance.get("packages"))
    for model in ours.code:
        if model in theirs.code:
            changes = version_changes(ours.code[model], theirs.code[model])
            yield from (f"code of {model}: {words}" for name, words in changes if name not in told)


def _stage_document(stage: StageComparison) -> dict[str, Any]:
    difference = None if stage.difference is None else asdict(stage.difference)
    return {"stage": stage.stage, "same": difference is None, "difference": difference}
