"""Repeats Algorithm 1: checks that theta*, the data and the history give the stored labels and minimum.json.

Losses, accuracies, norms and the category are recomputed. Only a new training could check the history itself. The checks are
that it ends where the rules of the spec end it, and that its seed is valid.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tmrepro.comparison.contents import SECONDS, minimum_values
from tmrepro.networks import build_model
from tmrepro.networks.parameters import layout_of
from tmrepro.numerics.inference import outputs
from tmrepro.records import History, Minimum
from tmrepro.runner.context import examples_on
from tmrepro.runner.view import RunView
from tmrepro.spec import TrainedModel, TrainingSpec
from tmrepro.training import Examples, Trained
from tmrepro.training.loop import RESEED_STRIDE, is_collapsed
from tmrepro.training.minimum import diverged_minimum, find_minimum
from tmrepro.training.optimizers import learning_rate
from tmrepro.training.stopping import best_epoch, is_gm, is_lm, warmup_epochs
from tmrepro.verification.grades import ABSOLUTE, RELATIVE, Grade, grade_accuracy, grade_array, grade_value, worst
from tmrepro.verification.verdict import Check


def check_minimum(view: RunView, model: TrainedModel, *, device: torch.device, exact: bool) -> Check:
    """Check that labels.npy and minimum.json of `model` follow from theta*, the data and history.csv.

    Raises:
        ArtefactError: a file for this check is missing or damaged.
    """
    subject, training = f"models/{model.name}", model.spec.training
    found, history = view.minimum(model.name), view.history(model.name)
    if found.category == "diverged":
        return _check_divergence(view, model, found, history)
    module = view.model(model.name).to(device)
    examples = examples_on(view.dataset, scaling=view.spec.data.scaling, device=device)
    for wrong in (
        _wrong_parameters(view, model.name, module),
        _wrong_seed(found, seed=model.seed, reseeds=training.reseeds),
        _wrong_rates(history, training, images=len(examples.inputs)),
    ):
        if wrong:
            return Check("audit", subject, "different", wrong)
    assert found.stopped != "diverged"  # noqa: S101 - reading the record checks that this has another category
    collapsed = is_collapsed(module, examples, spec=training)
    again = find_minimum(
        Trained(
            model=module,
            history=history,
            best_epoch=best_epoch(list(history.train_losses), averaging=training.averaging),
            stopped=found.stopped,
            seed=found.seed,
            seeds_collapsed=found.seeds_collapsed,
            collapsed=collapsed,
        ),
        name=model.name,
        spec=training,
        labels=view.spec.minimum.labels,
        examples=examples,
    )
    of_labels, detail = _grade_labels(view.labels(model.name), torch.from_numpy(again.labels), module, examples)
    if of_labels == "different":
        return Check("audit", subject, of_labels, f"labels.npy does not follow from theta*: {detail}")
    wrong = _wrong_end(again.minimum, history, training, images=len(examples.inputs))
    if wrong:
        return Check("audit", subject, "different", wrong)
    images = (len(examples.inputs), len(examples.validation_inputs))
    grade, words = grade_minimum(found, again.minimum, images=images, exact=exact, same_run=True, other="theta* gives")
    if worst([grade, of_labels]) == "identical":
        return Check("audit", subject, "identical", "theta* gives the stored labels and every number of minimum.json")
    if grade == "identical":
        return Check("audit", subject, of_labels, f"labels.npy: {detail}")
    return Check("audit", subject, worst([grade, of_labels]), f"minimum.json {words}")


def _check_divergence(view: RunView, model: TrainedModel, found: Minimum, history: History) -> Check:
    """Check that the record of a diverged training follows from its history. Only a rerun can check the divergence."""
    subject, training = f"models/{model.name}", model.spec.training
    images = len(view.dataset.train.labels)
    layout = layout_of(build_model(model.spec, signature=view.signature, seed=model.seed))
    for wrong in (
        _wrong_seed(found, seed=model.seed, reseeds=training.reseeds),
        _wrong_rates(history, training, images=images),
    ):
        if wrong:
            return Check("audit", subject, "different", wrong)
    again = diverged_minimum(
        history,
        name=model.name,
        spec=training,
        labels=view.spec.minimum.labels,
        images=images,
        parameters=sum(math.prod(parameter.shape) for parameter in layout),
        seed=found.seed,
        seeds_collapsed=found.seeds_collapsed,
        reason=found.reason,
    )
    of_both = (images, len(view.dataset.validation.labels))
    grade, words = grade_minimum(found, again, images=of_both, exact=True, same_run=True, other="the history gives")
    if grade != "identical":
        return Check("audit", subject, grade, f"minimum.json {words}")
    return Check(
        "audit",
        subject,
        grade,
        "the record follows from the history; only level rerun can check that the training diverged",
    )


def _grade_labels(stored: Tensor, given: Tensor, module: nn.Module, examples: Examples) -> tuple[Grade, str]:
    """Grade y~. Hard labels agree if the stored class is the arg-max up to rounding; soft labels are graded as numbers."""
    if stored.dtype != given.dtype or stored.shape != given.shape:
        return "different", "other labels than this spec requests"
    if given.is_floating_point():
        return grade_array(stored.double().numpy(), given.double().numpy())
    moved = np.flatnonzero((stored != given).numpy())
    if moved.size == 0:
        return "identical", "all of them"
    logits = outputs(module, examples.inputs).double().cpu()
    first = f"image {moved[0]}: stored {int(stored[moved[0]])}, theta* gives {int(given[moved[0]])}"
    if int(stored.min()) < 0 or int(stored.max()) >= logits.shape[1]:
        return "different", f"{first}, and a class that does not exist"
    largest = logits.max(1).values
    behind = largest - logits.gather(1, stored[:, None]).squeeze(1)
    tied = bool((behind <= RELATIVE * largest.abs() + ABSOLUTE).all())
    return ("equal" if tied else "different"), f"{len(moved)} of {len(stored)} differ, {first}"


def _wrong_parameters(view: RunView, name: str, module: nn.Module) -> str | None:
    """Check the ordered names and shapes of parameters, which are needed to recompute the directions."""
    recorded = view.provenance.get("parameters")
    expected = [[parameter.name, list(parameter.shape)] for parameter in layout_of(module)]
    if isinstance(recorded, dict) and recorded.get(name) == expected:
        return None
    return "provenance.json lists other parameters than this model has"


def _wrong_seed(found: Minimum, *, seed: int, reseeds: int) -> str | None:
    """Check that the seed is the spec's, or that of the next attempt after collapses; the last one if all collapsed."""
    tries = [seed + attempt * RESEED_STRIDE for attempt in range(reseeds + 1)]
    if found.category == "collapsed" and found.seed == tries[-1] and list(found.seeds_collapsed) == tries:
        return None
    if found.seed in tries and list(found.seeds_collapsed) == tries[: tries.index(found.seed)]:
        return None
    return f"seed {found.seed} after {len(found.seeds_collapsed)} collapses is not what the spec's seed {seed} leads to"


def _wrong_rates(history: History, training: TrainingSpec, *, images: int) -> str | None:
    """Check that the learning rates of history.csv are those of the schedule."""
    steps = -(-images // training.batch_size)
    expected = [
        learning_rate(epoch * steps - 1, spec=training, steps_per_epoch=steps)
        for epoch in range(1, len(history.epochs) + 1)
    ]
    grade, detail = grade_array(np.array([epoch.lr for epoch in history.epochs]), np.array(expected), absolute=0.0)
    return None if grade != "different" else f"history.csv: the learning rate differs from the spec: {detail}"


def _wrong_end(again: Minimum, history: History, training: TrainingSpec, *, images: int) -> str | None:
    """Check that training stopped where the spec's rule first applied, or at max_epochs."""
    losses, stop = [epoch.train_loss for epoch in history.epochs], training.stop
    warmup = warmup_epochs(warmup_steps=training.warmup_steps, steps_per_epoch=-(-images // training.batch_size))
    at_minimum = again.train_loss_at_minimum
    gm = is_gm(losses, epsilon=stop.epsilon) and at_minimum is not None and at_minimum <= stop.epsilon
    lm_epochs = [
        epoch
        for epoch in range(1, len(losses) + 1)
        if is_lm(losses[:epoch], epsilon=stop.epsilon, patience=stop.patience, warmup_epochs=warmup)
    ]
    # Only the weights of that epoch could show whether eval mode confirmed an earlier GM. An earlier LM is in the history.
    allowed = {
        "lm": stop.at == "lm" and (lm_epochs == [len(losses)] or (gm and not lm_epochs)),
        "gm": stop.at == "gm" and gm,
        "max_epochs": len(losses) == training.max_epochs and not (stop.at == "lm" and lm_epochs),
    }
    if allowed[again.stopped] and len(losses) <= training.max_epochs:
        return None
    return f"the history ends after {len(losses)} epochs, but the spec does not stop training there ({again.stopped})"


def grade_minimum(
    stored: Minimum, expected: Minimum, *, images: tuple[int, int], exact: bool, same_run: bool, other: str = "expected"
) -> tuple[Grade, str]:
    """Grade a record against the expected one. The text names the first field of the worst grade.

    `images` are the numbers of training and validation images. `exact`: one platform, so an accuracy is graded as a number.
    `same_run`: durations must agree too. `other` describes the second record in the text.
    """
    ours, theirs = (minimum_values(side) | (_durations(side) if same_run else {}) for side in (stored, expected))
    grades: dict[str, Grade] = {
        name: _grade_field(name, ours[name], theirs[name], images=images, exact=exact)
        for name in ours
        if name != "reason"
    }
    grade = worst(grades.values())
    if grade == "identical" and stored.reason != expected.reason:  # a text that follows from the numbers
        grade, grades["reason"] = "different", "different"
    if grade == "identical":
        return grade, f"{len(grades) + 1} fields"
    name = next(name for name, one in grades.items() if one == grade)
    return grade, f"{name}: stored {ours[name]}, {other} {theirs[name]}"


def _durations(minimum: Minimum) -> dict[str, float | None]:
    return {field.name: getattr(minimum, field.name) for field in fields(Minimum) if field.name.endswith(f"_{SECONDS}")}


def _grade_field(name: str, ours: Any, theirs: Any, *, images: tuple[int, int], exact: bool) -> Grade:
    if isinstance(theirs, float) and name.endswith("accuracy") and not exact:
        return grade_accuracy(ours, theirs, images=images[1] if name.startswith("validation") else images[0])
    return grade_value(ours, theirs)
