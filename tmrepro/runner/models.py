"""The stages of one model: training up to theta*, then Algorithm 1."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import nn

from tmrepro.errors import CollapsedError, DamagedError, DivergedError
from tmrepro.networks import build_model
from tmrepro.networks.parameters import layout_of
from tmrepro.records import History, Minimum
from tmrepro.runner.checkpoints import Checkpoint
from tmrepro.runner.cluster import Task
from tmrepro.runner.context import Context, computing, run_stage
from tmrepro.runner.trainings import Attempt, train_with_checkpoints, training_of, users_code
from tmrepro.runner.weights import load_theta, remove_theta, save_theta
from tmrepro.runner.workspace import Workspace
from tmrepro.spec import ModelSpec, Spec, TrainedModel, TrainingSpec
from tmrepro.store.documents import load_history, save_history
from tmrepro.store.minima import minimum_document, minimum_from, read_minimum, save_minimum
from tmrepro.store.run_files import HISTORY, LABELS, model_file
from tmrepro.store.stages import StageRecord, stage_key
from tmrepro.store.tensors import check_labels, load_labels, save_labels
from tmrepro.training import Trained
from tmrepro.training.layout import RULE, may_be_channels_last
from tmrepro.training.minimum import Relabelled, diverged_minimum, find_minimum
from tmrepro.usercode import CodeRecord

DIVERGED = "diverged"  # a fact of a training: why a replicate diverged


def train_model(context: Context, model: TrainedModel) -> StageRecord:
    """Stage training/NAME: theta.safetensors and history.csv."""
    spec, name = training_of(model.spec), model.name
    folder = f"models/{name}"
    inputs = {
        "platform": context.platform,
        "data": data_inputs(context.spec, fingerprint=context.dataset.fingerprint, code=context.dataset.code),
        "model": model_inputs(model.spec, code=context.code.get(model.base)),
        "training": _training_inputs(spec),
        "seed": model.seed,
        **_memory_inputs(context, spec),
    }
    key = stage_key(inputs)
    attempt = Attempt(model.seed)

    def compute() -> tuple[list[str], dict[str, Any]]:
        try:
            trained = train_with_checkpoints(context, model, key=key, attempt=attempt)
        except DivergedError as error:
            if model.replicate == 0:
                raise
            history = History(tuple(attempt.epochs))
            save_history(context.run / folder / HISTORY, history, work=context.work)
            remove_theta(context.run, name)
            return [f"{folder}/{HISTORY}"], {"folder": folder, **attempt.facts(), DIVERGED: str(error)}
        theta = save_theta(context.run, name, trained.tensors, work=context.work)
        save_history(context.run / folder / HISTORY, trained.history, work=context.work)
        facts = {
            "folder": folder,
            "seed": trained.seed,
            "seeds_collapsed": list(trained.seeds_collapsed),
            "collapsed": trained.collapsed,
            "stopped": trained.stopped,
            "best_epoch": trained.best_epoch,
            "memory_format": trained.memory_format,
        }
        return [theta, f"{folder}/{HISTORY}"], facts

    record = run_stage(context, f"training/{name}", inputs=inputs, folder=folder, compute=compute)
    Checkpoint(context.run, name, key=key).remove()
    if DIVERGED in record.facts and model.replicate == 0:  # reused from a run in which it was a replicate
        raise DivergedError(str(record.facts[DIVERGED]))
    return record


def relabel_model(context: Context, model: TrainedModel, *, training: StageRecord) -> tuple[StageRecord, Minimum]:
    """Stage minimum/NAME: labels.npy, and the numbers of minimum.json, which `planes` completes.

    If the network collapsed, this is a failure of the run. If a replicate collapsed or diverged, it is only noted.
    """
    name, spec = model.name, context.spec
    folder = f"models/{name}"
    inputs = {"training": training.key, "labels": spec.minimum.labels, "name": name}

    def compute() -> tuple[list[str], dict[str, Any]]:
        if DIVERGED in training.facts:
            diverged = _record_of_divergence(context, model, training)
            return [], {"folder": folder, "minimum": minimum_document(diverged)}
        with computing(f"relabelling with {name}", users_code=users_code(model.spec)):
            found = context.engine.call(Relabel(needs=training.files, model=model, training=training), context)
        save_labels(context.run / folder / LABELS, found.labels, work=context.work)
        return [f"{folder}/{LABELS}"], {"folder": folder, "minimum": minimum_document(found.minimum)}

    record = run_stage(context, f"minimum/{name}", inputs=inputs, folder=folder, compute=compute)
    where = f"what stage {record.name} recorded"
    minimum = minimum_from(record.facts.get("minimum"), model=name, name=where)
    if not _tells_of(context, minimum):
        save_minimum(context.run, minimum, work=context.work)  # preliminary, until `planes` writes it
    if minimum.stopped == "max_epochs":
        context.reporter.note(
            f"{name}: training ended at max_epochs ({minimum.epochs}) with category {minimum.category}: {minimum.reason}"
        )
    if minimum.has_surface:
        return record, minimum
    seeds = ", ".join(str(seed) for seed in minimum.seeds_collapsed)
    failure = (
        f"{name} collapsed to a constant predictor with every seed tried ({seeds}): it is no minimum and has "
        "no surface. Use init: he, more warmup_steps, a lower lr, or more training.reseeds"
        if minimum.category == "collapsed"
        else f"{name} diverged, so it has no surface: {minimum.reason}"
    )
    if model.replicate == 0:
        context.failures.append(CollapsedError(failure))
    else:
        context.reporter.note(f"{failure}. It is a replicate, so the run goes on without it")
    return record, minimum


@dataclass(frozen=True, kw_only=True)
class Relabel(Task[Relabelled]):
    """Algorithm 1, and the category of theta*. `training` is the stage that found theta*; its files are needed."""

    model: TrainedModel
    training: StageRecord

    def compute(self, workspace: Workspace) -> Relabelled:
        """See `Task.compute`."""
        with computing(f"relabelling with {self.model.name}", users_code=users_code(self.model.spec)):
            return find_minimum(
                restore(workspace, self.model, self.training),
                name=self.model.name,
                spec=training_of(self.model.spec),
                labels=workspace.spec.minimum.labels,
                examples=workspace.examples,
            )


def _record_of_divergence(context: Context, model: TrainedModel, training: StageRecord) -> Minimum:
    """Return the minimum.json of a replicate that diverged, from the record of its training."""
    facts = training.facts
    match facts:
        case {"diverged": str() as reason, "seed": int() as seed, "seeds_collapsed": list() as seeds} if all(
            isinstance(one, int) for one in seeds
        ):
            pass
        case _:
            raise DamagedError(f"what stage {training.name} recorded is damaged; choose another --out, or no --reuse")
    layout = layout_of(_build(context, model.spec, seed=model.seed))
    return diverged_minimum(
        load_history(context.run / model_file(model.name, HISTORY)),
        name=model.name,
        spec=training_of(model.spec),
        labels=context.spec.minimum.labels,
        images=len(context.examples.inputs),
        parameters=sum(math.prod(parameter.shape) for parameter in layout),
        seed=seed,
        seeds_collapsed=tuple(seeds),
        reason=reason,
    )


def _tells_of(context: Context, minimum: Minimum) -> bool:
    """Return whether minimum.json already has this content, apart from its planes."""
    try:
        found = read_minimum(context.run, minimum.model)
    except DamagedError:
        return False
    return replace(found, depth_below_minimum={}) == minimum


def restore(context: Workspace, model: TrainedModel, training: StageRecord) -> Trained:
    """Return the result of a training from its files, which may come from an untrusted run folder."""
    module = load_theta(context.run, model, signature=context.dataset.signature)
    history = load_history(context.run / model_file(model.name, HISTORY))
    try:
        facts = _FACTS.validate_json(json.dumps(training.facts), strict=True)
    except ValueError as error:
        raise DamagedError(
            f"what stage {training.name} recorded is damaged; choose another --out, or no --reuse"
        ) from error
    if not 1 <= facts.best_epoch <= len(history.epochs):
        raise DamagedError(
            f"models/{model.name}/history.csv: expected the epoch of theta*, {facts.best_epoch}; found none"
        )
    return Trained(
        model=module.to(context.device),
        history=history,
        best_epoch=facts.best_epoch,
        stopped=facts.stopped,
        seed=facts.seed,
        seeds_collapsed=facts.seeds_collapsed,
        collapsed=facts.collapsed,
    )


@dataclass(frozen=True)
class _TrainingFacts:
    """The facts that a training stage records besides its files."""

    folder: str
    seed: int
    seeds_collapsed: tuple[int, ...]
    collapsed: bool
    stopped: Literal["lm", "gm", "max_epochs"]
    best_epoch: int


_FACTS = TypeAdapter(_TrainingFacts)


def _build(context: Workspace, spec: ModelSpec, *, seed: int) -> nn.Module:
    return build_model(spec, signature=context.dataset.signature, seed=seed)


def relabelled(context: Workspace, name: str) -> torch.Tensor:
    """Return y~ of the network `name`, in data order, on the device of the run."""
    relative, examples = model_file(name, LABELS), context.examples
    labels = load_labels(context.run / relative, name=relative)
    check_labels(labels, images=len(examples.labels), outputs=context.dataset.signature.outputs, name=relative)
    return torch.from_numpy(np.array(labels)).to(context.device)


def data_inputs(spec: Spec, *, fingerprint: str, code: CodeRecord | None) -> dict[str, Any]:
    """Return the inputs of a training that come from the data. Data of a factory include all code that it loads."""
    inputs: dict[str, Any] = {"fingerprint": fingerprint, "scaling": spec.data.scaling}
    return inputs if code is None else {**inputs, "code": code.document()}


def _training_inputs(spec: TrainingSpec) -> dict[str, Any]:
    """Return the settings that affect theta*, without the path. Without averaging, the key equals that of older versions."""
    unused = {"averaging"} if spec.averaging is None else set()
    return spec.model_dump(mode="json", exclude={"seed", "trajectory", *unused})


def _memory_inputs(context: Context, spec: TrainingSpec) -> dict[str, Any]:
    """Return the rule for memory formats, if it could choose another format than the contiguous one."""
    asked = may_be_channels_last(context.examples.inputs, batch_size=spec.batch_size)
    return {"memory_format": RULE} if asked else {}


def model_inputs(spec: ModelSpec, *, code: CodeRecord | None) -> dict[str, Any]:
    """Return the network without its name. A custom network includes all code that its factory loads."""
    inputs: dict[str, Any] = spec.model_dump(mode="json", exclude={"name", "training"})
    return inputs if code is None else {**inputs, "code": code.document()}
