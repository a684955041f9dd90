"""Level `audit`: do the stored models give the stored minima and surfaces?

A random sample of grid points is evaluated again from theta*. If a share f of a surface's points is forged, n points find
that with probability 1 - (1 - f)^n; the sample is drawn when the audit starts, so nobody can forge around it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, fields

import numpy as np

from tmrepro.errors import ArtefactError
from tmrepro.inference import Targets, evaluate, outputs, summarize
from tmrepro.minimum import relabel
from tmrepro.pipeline.surfaces import surface_problem
from tmrepro.records import Minimum, SurfaceFacts
from tmrepro.spec import DrawnSurface, TrainedModel, TrainingSpec, expand_models, expand_surfaces
from tmrepro.store.surfaces import read_surface
from tmrepro.surface import choose_evaluator
from tmrepro.verify.grades import grade_array, grade_number, worst
from tmrepro.verify.verdict import Check, Grade
from tmrepro.view import RunView

DEFAULT_SHARE = 0.01
LEAST_POINTS = 16


def check_audit(view: RunView, *, share: float, seed: int) -> tuple[list[Check], list[str]]:
    """Check every model's labels and losses, and `share` of every surface's points. Returns checks and notes."""
    checks, notes = [], []
    models = {model.name: model for model in expand_models(view.spec)}
    for model in models.values():
        try:
            checks.append(_check_minimum(view, model))
        except ArtefactError as error:
            checks.append(Check("audit", f"models/{model.name}", "damaged", str(error)))
    points = LEAST_POINTS
    for drawn in expand_surfaces(view.spec):
        for name in drawn.models:
            if (drawn.name, name) in view.surfaces:
                points = sample_size(drawn.spec.grid.K, share=share)
                checks.append(_check_surface(view, drawn, models[name], points=points, seed=seed))
    notes.append(
        f"audit: sample seed {seed} (repeat it with --seed {seed}); {points} points of a surface find forgeries of a "
        f"tenth of its points with probability {1 - 0.9**points:.1%}, of a hundredth with {1 - 0.99**points:.1%}"
    )
    return checks, notes


def sample_size(K: int, *, share: float) -> int:
    """Points to audit of a K x K surface."""
    return min(K * K, max(LEAST_POINTS, math.ceil(share * K * K)))


def draw_sample(K: int, *, points: int, seed: int) -> list[tuple[int, int]]:
    """`points` different (i, j) of a K x K grid, each set equally likely."""
    picked = np.random.Generator(np.random.Philox(key=seed)).permutation(K * K)[:points]
    return [(int(index) // K, int(index) % K) for index in np.sort(picked)]


def _check_minimum(view: RunView, model: TrainedModel) -> Check:
    """theta* gives the labels y~, T*, V and V~ that are stored."""
    subject, found = f"models/{model.name}", view.minimum(model.name)
    training = model.spec.training
    assert isinstance(training, TrainingSpec)  # noqa: S101
    module, inputs, clip = view.model(model.name), view.inputs(), training.clip_probability
    given = relabel(module, inputs, labels=view.spec.minimum.labels)
    stored = view.labels(model.name)
    if stored.dtype != given.dtype or stored.shape != given.shape:
        return Check("audit", subject, "different", "labels.npy has not the labels of this spec")
    grade, detail = grade_array(stored.double().numpy(), given.double().numpy())
    if grade == "different":
        return Check("audit", subject, grade, f"labels.npy is not what theta* gives: {detail}")
    own = summarize(outputs(module, inputs), targets=Targets(given, clip))
    given_labels = evaluate(module, inputs, targets=Targets(view.original_labels(), clip))
    numbers = {
        "relabelled_loss": own.loss,
        "relabelled_accuracy": own.accuracy,
        "train_loss_at_minimum": given_labels.loss,
        "train_accuracy": given_labels.accuracy,
    }
    return _grade_numbers(subject, found, numbers, labels=grade)


def _grade_numbers(subject: str, found: Minimum, numbers: dict[str, float], *, labels: Grade) -> Check:
    stored = asdict(found)
    grades = {name: grade_number(stored[name], value) for name, value in numbers.items()}
    grade = worst([labels, *grades.values()])
    detail = "theta* gives the stored labels, T* and V~"
    for name, one in grades.items():
        if one == grade and grade != "identical":
            detail = f"{name}: stored {stored[name]}, theta* gives {numbers[name]}"
    return Check("audit", subject, grade, detail)


def _check_surface(view: RunView, drawn: DrawnSurface, model: TrainedModel, *, points: int, seed: int) -> Check:
    subject = f"surfaces.zarr/{drawn.name}/{model.name}"
    training = model.spec.training
    assert isinstance(training, TrainingSpec)  # noqa: S101
    try:
        stored, stored_facts, home, _ = read_surface(view.folder, drawn.name, model.name)
        labels = view.original_labels() if drawn.spec.labels == "original" else view.labels(model.name)
        problem, grid, facts = surface_problem(
            view.model(model.name),
            drawn.spec,
            seeds=drawn.seeds,
            inputs=view.inputs(),
            labels=labels,
            clip=training.clip_probability,
        )
    except ArtefactError as error:
        return Check("audit", subject, "damaged", str(error))
    if home != grid.home or grade_array(stored.a, grid.a)[0] == "different" or stored.loss.shape != (len(grid.a),) * 2:
        return Check("audit", subject, "different", "its axes are not the spec's grid around theta*")
    wrong = _first_wrong_fact(stored_facts, facts)
    if wrong:
        return Check("audit", subject, "different", wrong)
    evaluator = choose_evaluator(problem)
    sample = draw_sample(len(grid.a), points=points, seed=seed)
    again = np.empty((2, len(sample)))
    kept = np.empty((2, len(sample)))
    for position, (i, j) in enumerate(sample):
        loss, accuracy = evaluator.block(grid.a[i : i + 1], grid.b[j : j + 1])
        again[:, position] = loss[0, 0], accuracy[0, 0]
        kept[:, position] = stored.loss[i, j], stored.accuracy[i, j]
    grade, detail = grade_array(kept, again)
    if grade != "identical":
        position = int(np.argmax(np.abs(np.nan_to_num(kept[0] - again[0], nan=np.inf))))
        detail = f"point {sample[position]}: stored {kept[0, position]:.9g}, theta* gives {again[0, position]:.9g}"
    return Check("audit", subject, grade, f"{len(sample)} of {stored.loss.size} points: {detail}")


def _first_wrong_fact(stored: SurfaceFacts, expected: SurfaceFacts) -> str | None:
    if stored.delta.sha256 != expected.delta.sha256 or stored.eta.sha256 != expected.eta.sha256:
        return "the streams of its directions are not those of the spec's seeds"
    for field in fields(SurfaceFacts):
        ours, theirs = getattr(expected, field.name), getattr(stored, field.name)
        same = ours == theirs if not isinstance(ours, float) else grade_number(theirs, ours) != "different"
        if field.name not in {"delta", "eta"} and not same:
            return f"{field.name}: stored {theirs}, theta* and the spec give {ours}"
    return None
