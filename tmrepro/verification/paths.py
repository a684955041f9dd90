"""Checks that theta* and the spec give the stored paths of training and the stored directions.

If the weights along the path were kept, all of trajectory.csv is recomputed. Otherwise, the checks are those that theta* allows:
its own row, the epochs, and that the distances in and from each plane belong to one point.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import partial
from typing import assert_never

import numpy as np
import torch

from tmrepro.directions.gaussian import DirectionPair
from tmrepro.directions.trajectory import away_from
from tmrepro.landscape.curvature import Settings, remeasure
from tmrepro.networks.parameters import dot, norm_of, theta_of
from tmrepro.numerics.inference import targets_of
from tmrepro.records import PlanePlace, TrajectoryPoint
from tmrepro.runner.context import examples_on
from tmrepro.runner.path import TrainingPath, describe, measure_point
from tmrepro.runner.view import RunView
from tmrepro.spec import DrawnSurface, TrainedModel, expand_surfaces
from tmrepro.store.atomic import safe_path
from tmrepro.store.directions import directions_file, load_directions
from tmrepro.store.run_files import TRAJECTORY, model_file
from tmrepro.store.stages import recorded_stages
from tmrepro.store.trajectories import kept_state, trajectory_columns
from tmrepro.training import path_epochs
from tmrepro.verification.grades import Grade, grade_array, grade_arrays, worst
from tmrepro.verification.verdict import Check

CLOSE = 1e-6  # of a length: the parts in and across a plane are computed in float64 from float32 directions
UNIT = 1e-5  # largest deviation of a float32 unit vector from unit norm


def check_path(view: RunView, model: TrainedModel, *, device: torch.device, exact: bool) -> Check | None:
    """Check trajectory.csv of `model`. Return None if there is none.

    Raises:
        ArtefactError: a file for this check is missing or damaged.
    """
    stored = view.trajectory(model.name)
    if not stored:
        return None
    subject, wanted, minimum = (
        model_file(model.name, TRAJECTORY),
        model.spec.training.trajectory,
        view.minimum(model.name),
    )
    assert wanted is not None  # noqa: S101 - otherwise nothing is stored
    epochs = path_epochs(every=wanted.every, epochs=minimum.epochs, best_epoch=minimum.best_epoch)
    if tuple(point.epoch for point in stored) != epochs:
        return Check("audit", subject, "different", "its epochs are not those at which the spec records the path")
    module = view.model(model.name)
    pairs = {
        drawn.name: view.direction_pair(drawn, model.name, module)
        for drawn in expand_surfaces(view.spec)
        if model.name in drawn.models
    }
    for point in stored:
        for surface, pair in pairs.items():
            if not _is_one_point(point, point.places[surface], pair):
                said = f"epoch {point.epoch}: its places in and from the plane of {surface} contradict its distance from theta*"
                return Check("audit", subject, "different", said)
    if not wanted.weights:
        return _check_home(
            subject, stored, minimum.best_epoch, (minimum.relabelled_loss, minimum.gradient_norm), exact=exact
        )
    path = TrainingPath(
        module.to(device),
        epochs,
        tuple(safe_path(view.folder, kept_state(model.name, epoch)) for epoch in epochs),
        model.name,
    )
    if not np.array_equal(path.theta(epochs.index(minimum.best_epoch)), path.theta_star):
        return Check("audit", subject, "different", f"the weights kept of epoch {minimum.best_epoch} are not theta*")
    examples = examples_on(view.dataset, scaling=view.spec.data.scaling, device=device)
    training = model.spec.training
    targets = targets_of(view.labels(model.name).to(device), loss=training.loss, clip=training.clip_probability)
    moved = copy.deepcopy(path.module)
    again, _ = describe(
        path,
        {surface: (None, partial(pairs.__getitem__, surface)) for surface in pairs},
        measure=lambda index: measure_point(
            moved, path.state(index), examples=examples, targets=targets, training=training
        ),
    )
    grade, words = grade_path(stored, again)
    if grade == "identical":
        return Check("audit", subject, grade, f"the weights along the path give all of its {len(stored)} rows")
    return Check("audit", subject, grade, f"the weights along the path give other numbers: {words}")


def grade_path(stored: Sequence[TrajectoryPoint], expected: Sequence[TrajectoryPoint]) -> tuple[Grade, str]:
    """Grade the agreement of two paths, column by column."""
    if [point.epoch for point in stored] != [point.epoch for point in expected]:
        return "different", "other epochs"
    return grade_arrays(trajectory_columns(stored), trajectory_columns(expected))


def check_directions(view: RunView, drawn: DrawnSurface, model: TrainedModel, *, device: torch.device) -> Check | None:
    """Check the stored directions of a surface. Return None if they come from seeds.

    Raises:
        ArtefactError: a file for this check is missing or damaged.
    """
    kind = drawn.spec.directions.kind
    if kind == "random":
        return None
    module = view.model(model.name)
    theta = theta_of(module)
    vectors = load_directions(view.folder, drawn.name, model.name, size=theta.size)
    match kind:
        case "between":
            grade, said = _check_between(view, drawn, theta, vectors)
        case "hessian":
            grade, said = _check_eigenvectors(view, drawn, model, vectors, device=device)
        case "pca":
            grade, said = _check_components(view, model, vectors)
        case _:
            assert_never(kind)
    return Check("audit", directions_file(drawn.name, model.name), grade, said)


def _is_one_point(point: TrajectoryPoint, place: PlanePlace, pair: DirectionPair) -> bool:
    """Return whether the parts in the plane and across it give the distance from theta*."""
    if place.a is None or place.b is None or place.distance is None:
        return place == PlanePlace(None, None, None) and abs(pair.cosine) > 1 - CLOSE
    dd, ee, de = dot(pair.delta, pair.delta), dot(pair.eta, pair.eta), dot(pair.delta, pair.eta)
    within = place.a**2 * dd + place.b**2 * ee + 2 * place.a * place.b * de
    return math.isclose(within + place.distance**2, point.distance**2, rel_tol=CLOSE, abs_tol=CLOSE**2)


def _check_home(
    subject: str,
    stored: tuple[TrajectoryPoint, ...],
    best_epoch: int,
    expected: tuple[float | None, float | None],
    *,
    exact: bool,
) -> Check:
    """Check the row of theta* against minimum.json, which is checked separately."""
    home = next(point for point in stored if point.epoch == best_epoch)
    flat = [
        home.distance,
        *(home.components or ()),
        *(value for place in home.places.values() for value in (place.a, place.b)),
    ]
    if any(value for value in flat):
        return Check("audit", subject, "different", f"epoch {best_epoch} is theta*, but its distance is not 0")
    found = (home.loss, home.gradient_norm)
    grade, words = grade_array(*(np.array([math.nan if v is None else v for v in row]) for row in (found, expected)))
    if grade == "equal" and exact:
        grade, words = "different", f"on the same platform; {words}"
    said = (
        "the row of theta*, the epochs and the distances are valid; without the other weights, nothing else is checked"
    )
    return Check("audit", subject, grade, said if grade == "identical" else f"the row of theta*: {words}")


def _check_between(
    view: RunView, drawn: DrawnSurface, theta: np.ndarray, vectors: tuple[np.ndarray, np.ndarray]
) -> tuple[Grade, str]:
    for name, vector in zip(drawn.spec.directions.between or (), vectors, strict=True):
        expected = away_from(theta, theta_of(view.model(name))).astype(np.float32)
        if not np.array_equal(vector, expected):
            return "different", f"not the direction from theta* to that of {name}"
    return "identical", "theta* of the three networks give both directions"


def _check_eigenvectors(
    view: RunView,
    drawn: DrawnSurface,
    model: TrainedModel,
    vectors: tuple[np.ndarray, np.ndarray],
    *,
    device: torch.device,
) -> tuple[Grade, str]:
    """Check with one Hessian product per vector that eigenvalue and residual are those that the run recorded."""
    name = f"directions/{drawn.name}/{model.name}"
    facts = next((stage.facts for stage in recorded_stages(view.folder) if stage.name == name), {})
    recorded = [facts.get(key) for key in ("eigenvalues", "residuals")]
    try:
        values, residuals = (np.array(row, dtype=np.float64).reshape(2) for row in recorded)
    except (TypeError, ValueError):
        return "different", f"provenance.json has no two eigenvalues and residuals of {name}"
    labels = view.original_labels() if drawn.spec.labels == "original" else view.labels(model.name)
    inputs = view.inputs()[: drawn.spec.samples].to(device)
    training = model.spec.training
    targets = targets_of(labels[: len(inputs)].to(device), loss=training.loss, clip=training.clip_probability)
    found, left = remeasure(
        view.model(model.name).to(device),
        inputs,
        targets,
        torch.from_numpy(np.stack(vectors)),
        settings=Settings(seed=drawn.seeds[0]),
    )
    scale = float(np.max(np.abs(values), initial=0.0))
    of_values, words = grade_array(values, found, absolute=1e-4 * scale)
    # A residual consists of rounding errors, so it is compared relative to its eigenvalue.
    of_residuals, more = grade_array(residuals, left, absolute=1e-4 * scale)
    grade = worst([of_values, of_residuals])
    if grade == "different":
        return grade, f"eigenvalues: {words}; residuals: {more}"
    return (
        "identical" if grade == "equal" else grade,
        f"their eigenvalues are {found[0]:.6g} and {found[1]:.6g}, as recorded",
    )


def _check_components(view: RunView, model: TrainedModel, vectors: tuple[np.ndarray, np.ndarray]) -> tuple[Grade, str]:
    """Check that these are orthogonal unit vectors and, if the weights were kept, that these give them."""
    lengths, product = [norm_of(vector) for vector in vectors], dot(*vectors)
    if any(abs(length - 1) > UNIT for length in lengths) or abs(product) > UNIT:
        return (
            "different",
            f"norms {lengths[0]:.7g} and {lengths[1]:.7g}, product {product:.3g}: not two principal components",
        )
    wanted, minimum = model.spec.training.trajectory, view.minimum(model.name)
    if wanted is None or not wanted.weights:
        return (
            "identical",
            "two orthogonal unit vectors; the weights along the path were not kept, so nothing else is checked",
        )
    epochs = path_epochs(every=wanted.every, epochs=minimum.epochs, best_epoch=minimum.best_epoch)
    files = tuple(safe_path(view.folder, kept_state(model.name, epoch)) for epoch in epochs)
    found = TrainingPath(view.model(model.name), epochs, files, model.name).components().components
    if all(np.array_equal(vector, component) for vector, component in zip(vectors, found, strict=True)):
        return "identical", "the weights along the path give both components"
    grade, words = grade_array(np.stack(vectors).astype("f8"), found.astype("f8"))
    return grade, f"the weights along the path give other components: {words}"
