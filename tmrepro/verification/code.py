"""Checks whether the user's code is that of the run. This check precedes all numbers that the code computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tmrepro.errors import ArtefactError
from tmrepro.runner.view import RunView
from tmrepro.spec import CustomDataSpec, CustomModel, Spec, expand_models
from tmrepro.store.stages import recorded_code, recorded_data_code, stages_in
from tmrepro.usercode import CodeRecord, file_changes, version_changes
from tmrepro.verification.verdict import Check, Level

CODE = "code"  # the subject of these checks
_PACKAGES = frozenset(
    {"torch", "torchvision", "numpy", "scipy", "scikit-learn"}
)  # reported as packages of the platform


def check_code(view: RunView) -> tuple[list[Check], tuple[str, ...]]:
    """Compare the present code with the recorded code. Also return a text for each package with another version.

    Raises:
        UsageError: the code cannot be used, and no changed file explains why.
    """
    models, data = _custom(view.spec), isinstance(view.spec.data, CustomDataSpec)
    if not models and not data:
        return [], ()
    told, versions = dict[str, None](), dict[str, None]()
    try:
        for changes in (*([view.data_code_changes] if data else []), *map(view.code_changes, models)):
            told |= dict.fromkeys(changes.files)
            versions |= {words: None for name, words in changes.versions if name not in _PACKAGES}
    except ArtefactError as error:
        return [Check("audit", CODE, "damaged", str(error))], ()
    return [_check("audit", told, factories=len(models) + data)], tuple(versions)


def models_of_other_code(view: RunView) -> frozenset[str]:
    """Return the models whose code files have changed since the run. `check_code` comes first."""
    return frozenset(model for model in _custom(view.spec) if view.code_changes(model).files)


def compare_code(ours: Mapping[str, Any], theirs: Mapping[str, Any], *, spec: Spec, level: Level) -> list[Check]:
    """Check, from their provenance, that two runs of one spec had the same code."""
    models, data = _custom(spec), isinstance(spec.data, CustomDataSpec)
    if not models and not data:
        return []
    try:
        here, there = (recorded_code(stages_in(side)) for side in (ours, theirs))
        told = dict[str, None]()
        if data:
            ours_made, theirs_made = (recorded_data_code(stages_in(side)) for side in (ours, theirs))
            told |= dict.fromkeys(file_changes(ours_made, theirs_made, names=("in the run", "expected")))
        for model in models:
            sides = (here.get(model, _NONE), there.get(model, _NONE))
            told |= dict.fromkeys(file_changes(*sides, names=("in the run", "expected")))
    except ArtefactError as error:
        return [Check(level, CODE, "damaged", str(error))]
    return [_check(level, told, factories=len(models) + data)]


def other_distributions(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    """Yield packages of the user's code with different versions in two runs; none if a record is missing."""
    try:
        here, there = (recorded_code(stages_in(side)) for side in (ours, theirs))
    except ArtefactError:
        return
    told = {
        f"code of {model}: {words}": None
        for model in here
        if model in there
        for name, words in version_changes(here[model], there[model])
        if name not in _PACKAGES
    }
    yield from told


_NONE = CodeRecord({}, {})


def _custom(spec: Spec) -> list[str]:
    return [model.name for model in expand_models(spec) if isinstance(model.spec, CustomModel)]


def _check(level: Level, told: Mapping[str, None], *, factories: int) -> Check:
    if told:
        return Check(level, CODE, "different", "; ".join(told))
    return Check(level, CODE, "identical", f"every file that {factories} factories load")
