"""Level `audit`: checks that the stored models give the stored minima and surfaces.

Algorithm 1 is repeated for every model, which costs little. Of each surface, a random sample of grid points is recomputed from
theta*, as described in `points`. If a share f of the points is forged, n points find that with a probability of at least
1 - (1 - f)^n (sampling is without replacement). The sample is drawn when the audit starts, so a forger cannot know it.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import fields

import numpy as np
import torch

from tmrepro.errors import ArtefactError
from tmrepro.records import Direction, SurfaceFacts
from tmrepro.reporting.progress import Reporter, under_way
from tmrepro.runner.planning import surface_problem
from tmrepro.runner.view import RunView, stored_vectors
from tmrepro.spec import DrawnSurface, TrainedModel, expand_models, expand_surfaces
from tmrepro.store.directions import directions_file
from tmrepro.store.run_files import CURVATURE, PROVENANCE, STORE
from tmrepro.store.stages import damaged_files, recorded_stages
from tmrepro.store.surfaces import read_surface
from tmrepro.verification.curvature import check_curvature, has_curvature
from tmrepro.verification.grades import grade_array, grade_number, worst
from tmrepro.verification.measured import check_error
from tmrepro.verification.minimum_check import check_minimum
from tmrepro.verification.paths import check_directions, check_path
from tmrepro.verification.platforms import Platforms
from tmrepro.verification.points import Sampled, check_points
from tmrepro.verification.rounding import rounding_between
from tmrepro.verification.verdict import Check, Remarks

DEFAULT_SHARE = 0.01
LEAST_POINTS = 16


def check_audit(
    view: RunView,
    *,
    share: float,
    seed: int,
    device: torch.device,
    platforms: Platforms,
    reporter: Reporter,
    without: frozenset[str] = frozenset(),
) -> tuple[list[Check], Remarks]:
    """Check the stage records, every model's minimum, and `share` of every surface's points.

    `platforms` has the differences of this machine from the run's. Models in `without` are skipped, because their code changed.
    """
    checks = [_check_records(view)]
    models = {model.name: model for model in expand_models(view.spec) if model.name not in without}
    for model in models.values():
        with under_way(reporter, f"audit models/{model.name}", "repeating Algorithm 1 from theta*"):
            try:
                checks.append(check_minimum(view, model, device=device, exact=platforms.exact))
                path = check_path(view, model, device=device, exact=platforms.exact)
                checks += [path] if path is not None else []
            except ArtefactError as error:
                checks.append(Check("audit", f"models/{model.name}", "damaged", str(error)))
    checks += _check_curvatures(view, models, seed=seed, device=device, platforms=platforms, reporter=reporter)
    recorded, surfaces = _recorded_evaluators(view), set(view.surfaces)
    promises: dict[str, None] = {}  # each once, in order
    for drawn in expand_surfaces(view.spec):
        K = drawn.spec.grid.K
        sample_points = sample_size(K, share=share)
        promises[promise(sample_points, of=K * K)] = None
        for name in (name for name in drawn.models if name in models and (drawn.name, name) in surfaces):
            sample = draw_sample(K, points=sample_points, seed=seed, subject=f"{drawn.name}/{name}")
            what = f"{len(sample)} of {K * K} points"
            with under_way(reporter, f"audit {drawn.name}/{name}", what):
                try:
                    directions = check_directions(view, drawn, models[name], device=device)
                    checks += [directions] if directions is not None else []
                except ArtefactError as error:
                    checks.append(Check("audit", directions_file(drawn.name, name), "damaged", str(error)))
                    continue
                checks.append(
                    _check_surface(
                        view,
                        drawn,
                        models[name],
                        sample,
                        device=device,
                        platforms=platforms,
                        recorded=recorded.get(f"surface/{drawn.name}/{name}"),
                    )
                )
    return checks, Remarks(notes=(f"audit: the sample's seed is {seed} (--seed {seed} repeats it)", *promises))


def _check_curvatures(
    view: RunView,
    models: Mapping[str, TrainedModel],
    *,
    seed: int,
    device: torch.device,
    platforms: Platforms,
    reporter: Reporter,
) -> list[Check]:
    """Recompute the eigenpairs of every network with a curvature from its weights."""
    checks = []
    for model in models.values():
        if has_curvature(view, model.name):
            what = "recomputing its eigenpairs and a sample of its trace"
            with under_way(reporter, f"audit curvature/{model.name}", what):
                try:
                    checks.append(check_curvature(view, model, seed=seed, device=device, exact=platforms.exact))
                except ArtefactError as error:
                    checks.append(Check("audit", f"models/{model.name}/{CURVATURE}", "damaged", str(error)))
    return checks


def sample_size(K: int, *, share: float) -> int:
    """Return the number of points to audit of a K x K surface."""
    return min(K * K, max(LEAST_POINTS, math.ceil(share * K * K)))


def draw_sample(K: int, *, points: int, seed: int, subject: str) -> list[tuple[int, int]]:
    """Return `points` different (i, j) of a K x K grid. Each set is equally likely; each subject has its own sample."""
    stream = np.random.Philox(key=seed + (zlib.crc32(subject.encode()) << 64))
    picked = np.random.Generator(stream).permutation(K * K)[:points]
    return [(int(index) // K, int(index) % K) for index in np.sort(picked)]


def promise(points: int, *, of: int) -> str:
    """Return what a sample of `points` grid points guarantees, as text."""
    if points == of:
        return f"audit: all {of} points of a surface were recomputed, so every forged point is found"
    shares = ((f, 1 - (1 - f) ** points) for f in (0.01, 0.1, 0.25))
    found = ", ".join(f"{f:.0%} with {probability:.1%}" for f, probability in shares)
    return (
        f"audit: {points} points of a surface find a share f of forged ones with probability 1 - (1 - f)^{points} "
        f"at least: {found}"
    )


def _check_records(view: RunView) -> Check:
    """Check the files of every stage against the hashes recorded at its end. A manifest alone is easily forged."""
    try:
        stages = recorded_stages(view.folder)
    except ArtefactError as error:
        return Check("audit", PROVENANCE, "damaged", str(error))
    for stage in stages:
        changed = damaged_files(view.folder, stage)
        if changed:
            return Check("audit", PROVENANCE, "different", f"{changed[0]} is not what stage {stage.name} recorded")
    return Check("audit", PROVENANCE, "identical", f"the files of {len(stages)} stages are those recorded")


def _check_surface(
    view: RunView,
    drawn: DrawnSurface,
    model: TrainedModel,
    sample: list[tuple[int, int]],
    *,
    device: torch.device,
    platforms: Platforms,
    recorded: str | None,
) -> Check:
    subject = f"{STORE}/{drawn.name}/{model.name}"
    try:
        stored, stored_facts, home, step = read_surface(view.folder, drawn.name, model.name)
        labels = view.original_labels() if drawn.spec.labels == "original" else view.labels(model.name)
        module = view.model(model.name)
        problem, grid, facts = surface_problem(
            module.to(device),
            drawn.spec,
            seeds=drawn.seeds,
            vectors=stored_vectors(view.folder, drawn, model.name, module),
            inputs=view.inputs().to(device),
            labels=labels.to(device),
            training=model.spec.training,
        )
    except ArtefactError as error:
        return Check("audit", subject, "damaged", str(error))
    K = len(grid.a)
    axes = [grade_array(stored.a, grid.a)[0], grade_array(stored.b, grid.b)[0], grade_number(step, grid.step)]
    if home != grid.home or stored.loss.shape != (K, K) or "different" in axes:
        return Check("audit", subject, "different", "its axes are not the spec's grid around theta*")
    wrong = _first_wrong_fact(stored_facts, facts)
    if wrong:
        return Check("audit", subject, "different", wrong)
    sampled = Sampled(stored, grid, tuple(sample), chunk=drawn.spec.chunk)
    # Twice the error that the run measured: other points than its sample may have a larger error.
    rounding = rounding_between(
        view.provenance, view.provenance, surface=drawn.spec, stage=f"surface/{drawn.name}/{model.name}"
    )
    grade, detail = check_points(problem, sampled, recorded=recorded, exact=platforms.exact, rounding=rounding)
    of_error, words = check_error(
        problem, sampled, stored_facts.error, recorded=recorded, exact=platforms.exact, same_bits=grade == "identical"
    )
    if worst([grade, of_error]) != grade:
        grade, detail = of_error, words
    worst_of_all = worst([grade, *axes])
    if worst_of_all != grade:
        detail = "its axes are not bitwise identical"
    return Check("audit", subject, worst_of_all, f"{len(sample)} of {K * K} points: {detail}")


def _recorded_evaluators(view: RunView) -> dict[str, str]:
    """Return stage -> the evaluator that it recorded."""
    try:
        stages = recorded_stages(view.folder)
    except ArtefactError:
        return {}  # the check of the records reports this
    named = {stage.name: stage.facts.get("evaluator") for stage in stages}
    return {stage: name for stage, name in named.items() if isinstance(name, str)}


def _first_wrong_fact(stored: SurfaceFacts, expected: SurfaceFacts) -> str | None:
    for which in ("delta", "eta"):
        ours: Direction = getattr(expected, which)
        theirs: Direction = getattr(stored, which)
        if (theirs.seed, theirs.sha256) != (ours.seed, ours.sha256):
            return f"the stream of {which} is not that of the spec's seed {ours.seed}"
        if grade_number(theirs.norm, ours.norm) == "different":
            return f"the norm of {which}: stored {theirs.norm}, theta* and the spec give {ours.norm}"
    for field in fields(SurfaceFacts):
        if field.name in {"delta", "eta", "error"}:
            continue
        ours, theirs = getattr(expected, field.name), getattr(stored, field.name)
        same = ours == theirs if not isinstance(ours, float) else grade_number(theirs, ours) != "different"
        if not same:
            return f"{field.name}: stored {theirs}, theta* and the spec give {ours}"
    return None
