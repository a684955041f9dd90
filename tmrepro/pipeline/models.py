"""The stages of one model: training up to theta*, then Algorithm 1."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import nn

from tmrepro.errors import CollapsedError, DamagedError, DivergedError, UsageError
from tmrepro.limits import WEIGHTS_BYTES
from tmrepro.minimum import diverged_minimum, find_minimum
from tmrepro.models import build_model
from tmrepro.parameters import layout_of
from tmrepro.pipeline.context import Context, computing, run_stage
from tmrepro.records import Epoch, History, Minimum
from tmrepro.spec import CustomModel, ModelSpec, Spec, TrainedModel, TrainingSpec
from tmrepro.store.atomic import WORK, read_bytes, remove, write_bytes
from tmrepro.store.documents import load_history, save_history
from tmrepro.store.minima import minimum_document, minimum_from, read_minimum, save_minimum
from tmrepro.store.stages import StageRecord, stage_key
from tmrepro.store.tensors import check_labels, load_labels, save_labels, save_tensors
from tmrepro.training import CheckpointError, State, Trained, train
from tmrepro.training.checkpoint import read_progress
from tmrepro.training.layout import RULE, may_be_channels_last
from tmrepro.training.loop import RESEED_STRIDE
from tmrepro.usercode import CodeRecord
from tmrepro.view import load_theta

# A checkpoint costs its own time on the disk; so many times that is trained in between, but not less than the seconds.
CHECKPOINT_COST_FACTOR = 20
CHECKPOINT_SECONDS = 10.0  # or what this variable says; 0: after every epoch
CHECKPOINT_SECONDS_VARIABLE = "TMREPRO_CHECKPOINT_SECONDS"

DIVERGED = "diverged"  # of a training's facts: why, where a replicate did


def train_model(context: Context, model: TrainedModel) -> StageRecord:
    """Stage training/NAME: theta.safetensors and history.csv."""
    spec, name = _training_of(model.spec), model.name
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
    attempt = _Attempt(model.seed)

    def compute() -> tuple[list[str], dict[str, Any]]:
        try:
            trained = train_with_checkpoints(context, model, key=key, attempt=attempt)
        except DivergedError as error:
            if model.replicate == 0:
                raise
            history = History(tuple(attempt.epochs))
            save_history(context.run / folder / "history.csv", history, work=context.work)
            remove(context.run / folder / "theta.safetensors")
            return [f"{folder}/history.csv"], {"folder": folder, **attempt.facts(), DIVERGED: str(error)}
        tensors = {key: value.detach().cpu().numpy() for key, value in trained.model.state_dict().items()}
        save_tensors(context.run / folder / "theta.safetensors", tensors, work=context.work)
        save_history(context.run / folder / "history.csv", trained.history, work=context.work)
        facts = {
            "folder": folder,
            "seed": trained.seed,
            "seeds_collapsed": list(trained.seeds_collapsed),
            "collapsed": trained.collapsed,
            "stopped": trained.stopped,
            "best_epoch": trained.best_epoch,
            "memory_format": trained.memory_format,
        }
        return [f"{folder}/theta.safetensors", f"{folder}/history.csv"], facts

    record = run_stage(context, f"training/{name}", inputs=inputs, folder=folder, compute=compute)
    _Checkpoint(context, name, key=key).remove()
    if DIVERGED in record.facts and model.replicate == 0:  # taken over from a run in which it was a replicate
        raise DivergedError(str(record.facts[DIVERGED]))
    return record


def train_with_checkpoints(
    context: Context, model: TrainedModel, *, key: str, attempt: _Attempt | None = None
) -> Trained:
    """Train `model`, continuing from its last checkpoint; the points of its path are put aside where the spec wants them.

    `key` is that of the training stage; `attempt` learns what a training that diverges is recorded by.
    """
    spec, name = _training_of(model.spec), model.name
    checkpoint = _Checkpoint(context, name, key=key)
    attempt = attempt or _Attempt(model.seed)

    def trained_from(saved: bytes | None) -> Trained:
        attempt.continued = saved

        def on_epoch(epoch: Epoch, seed: int) -> None:
            attempt.epochs.append(epoch)
            context.reporter.epoch(name, epoch, seed=seed, max_epochs=spec.max_epochs)

        return train(
            spec,
            build=lambda seed: _build(context, model.spec, seed=attempt.begin(seed)),
            examples=context.examples,
            seed=model.seed,
            on_epoch=on_epoch,
            on_state=None if spec.trajectory is None else states_aside(context, name, key=key),
            save=checkpoint.save,
            saved=saved,
        )

    with computing(f"training {name}", users_code=users_code(model.spec)):
        try:
            return trained_from(checkpoint.load())
        except CheckpointError:
            context.reporter.note(f"the checkpoint of {name} is not one of this training, which starts afresh")
            return trained_from(None)


def states_aside(context: Context, name: str, *, key: str) -> Callable[[int, int, State], None]:
    """Writes each state that it is called with to its `state_path`."""

    def write(epoch: int, seed: int, state: State) -> None:
        tensors = {key: value.detach().cpu().numpy() for key, value in state.items()}
        save_tensors(state_path(context.run, name, key=key, seed=seed, epoch=epoch), tensors, work=context.work)

    return write


def state_path(run: Path, name: str, *, key: str, seed: int, epoch: int) -> Path:
    """Where a point of the path of training is kept while the run is under way."""
    return states_folder(run) / f"{name}.{key[:16]}" / str(seed) / f"{epoch}.safetensors"


def states_folder(run: Path) -> Path:
    """The folder of all points of all paths, until these are described."""
    return run / WORK / "path"


class _Attempt:
    """The try under way of one training, for the record of one that diverges: its seed and its finished epochs."""

    def __init__(self, seed: int) -> None:
        self.first = self.seed = seed
        self.epochs: list[Epoch] = []
        self.continued: bytes | None = None

    def begin(self, seed: int) -> int:
        """A network is built for another try, or for the one that a checkpoint continues."""
        self.epochs = [] if self.continued is None else list(read_progress(self.continued).history)
        self.continued, self.seed = None, seed
        return seed

    def facts(self) -> dict[str, Any]:
        return {"seed": self.seed, "seeds_collapsed": list(range(self.first, self.seed, RESEED_STRIDE))}


def relabel_model(context: Context, model: TrainedModel, *, training: StageRecord) -> tuple[StageRecord, Minimum]:
    """Stage minimum/NAME: labels.npy, and the numbers of minimum.json, which `planes` completes.

    A collapse is noted as a failure of the run; of a replicate, it is only told, and so is divergence.
    """
    name, spec = model.name, context.spec
    folder = f"models/{name}"
    inputs = {"training": training.key, "labels": spec.minimum.labels, "name": name}

    def compute() -> tuple[list[str], dict[str, Any]]:
        if DIVERGED in training.facts:
            diverged = _record_of_divergence(context, model, training)
            return [], {"folder": folder, "minimum": minimum_document(diverged)}
        with computing(f"relabelling with {name}", users_code=users_code(model.spec)):
            found = find_minimum(
                restore(context, model, training),
                name=name,
                spec=_training_of(model.spec),
                labels=spec.minimum.labels,
                examples=context.examples,
            )
        save_labels(context.run / folder / "labels.npy", found.labels, work=context.work)
        return [f"{folder}/labels.npy"], {"folder": folder, "minimum": minimum_document(found.minimum)}

    record = run_stage(context, f"minimum/{name}", inputs=inputs, folder=folder, compute=compute)
    where = f"what stage {record.name} recorded"
    minimum = minimum_from(record.facts.get("minimum"), model=name, name=where)
    if not _tells_of(context, minimum):
        save_minimum(context.run, minimum, work=context.work)  # to look at, until `planes` comes
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


def _record_of_divergence(context: Context, model: TrainedModel, training: StageRecord) -> Minimum:
    """What minimum.json says of a replicate that diverged, from what its training recorded."""
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
        load_history(context.run / "models" / model.name / "history.csv"),
        name=model.name,
        spec=_training_of(model.spec),
        labels=context.spec.minimum.labels,
        images=len(context.examples.inputs),
        parameters=sum(math.prod(parameter.shape) for parameter in layout),
        seed=seed,
        seeds_collapsed=tuple(seeds),
        reason=reason,
    )


def _tells_of(context: Context, minimum: Minimum) -> bool:
    """Whether minimum.json is there already, with planes or without."""
    try:
        found = read_minimum(context.run, minimum.model)
    except DamagedError:
        return False
    return replace(found, depth_below_minimum={}) == minimum


def users_code(spec: ModelSpec) -> str | None:
    """The factory of a custom model, whose failures are not ours."""
    return spec.factory if isinstance(spec, CustomModel) else None


def restore(context: Context, model: TrainedModel, training: StageRecord) -> Trained:
    """What training returned, from what it stored, which may come from somebody else's run folder."""
    module = load_theta(context.run, model, signature=context.dataset.signature)
    history = load_history(context.run / "models" / model.name / "history.csv")
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
    """What a training stage records beside its files."""

    folder: str
    seed: int
    seeds_collapsed: tuple[int, ...]
    collapsed: bool
    stopped: Literal["lm", "gm", "max_epochs"]
    best_epoch: int


_FACTS = TypeAdapter(_TrainingFacts)


class _Checkpoint:
    """The checkpoint file of one training: written now and then, read when a run continues."""

    def __init__(self, context: Context, name: str, *, key: str) -> None:
        self._work = context.work
        self._path = context.run / WORK / "checkpoints" / f"{name}.{key[:16]}.safetensors"
        self._seconds = _checkpoint_seconds()
        self._next = time.monotonic() + self._seconds

    def save(self, pack: Callable[[], bytes]) -> None:
        begin = time.monotonic()
        if begin < self._next:
            return
        data = pack()
        write_bytes(self._path, hashlib.sha256(data).digest() + data, work=self._work)
        if self._seconds > 0:
            end = time.monotonic()
            self._next = end + max(self._seconds, CHECKPOINT_COST_FACTOR * (end - begin))

    def load(self) -> bytes | None:
        """The last checkpoint; None if there is none, or if it isn't what was written."""
        try:
            content = read_bytes(self._path, limit_bytes=WEIGHTS_BYTES)
            digest, data = content[:32], content[32:]
            if hashlib.sha256(data).digest() != digest:
                return None
            read_progress(data)
        except (DamagedError, ValueError):
            return None
        return data

    def remove(self) -> None:
        remove(self._path)


def _checkpoint_seconds() -> float:
    text = os.environ.get(CHECKPOINT_SECONDS_VARIABLE, "") or str(CHECKPOINT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise UsageError(f"{CHECKPOINT_SECONDS_VARIABLE}={text}: expected a number of seconds, 0 or more")
    return seconds


def _training_of(spec: ModelSpec) -> TrainingSpec:
    """The merged training section, which every model of a resolved spec has."""
    assert isinstance(spec.training, TrainingSpec)  # noqa: S101
    return spec.training


def _build(context: Context, spec: ModelSpec, *, seed: int) -> nn.Module:
    return build_model(spec, signature=context.dataset.signature, seed=seed)


def relabelled(context: Context, name: str) -> torch.Tensor:
    """y~ of the network `name`, in data order, on the device of the run."""
    relative, examples = f"models/{name}/labels.npy", context.examples
    labels = load_labels(context.run / relative, name=relative)
    check_labels(labels, images=len(examples.labels), outputs=context.dataset.signature.outputs, name=relative)
    return torch.from_numpy(np.array(labels)).to(context.device)


def data_inputs(spec: Spec, *, fingerprint: str, code: CodeRecord | None) -> dict[str, Any]:
    """What a training depends on of the data; of those that a factory makes, with all code that it loads."""
    inputs: dict[str, Any] = {"fingerprint": fingerprint, "scaling": spec.data.scaling}
    return inputs if code is None else {**inputs, "code": code.document()}


def _training_inputs(spec: TrainingSpec) -> dict[str, Any]:
    """What of the section changes theta*: a path does not. Without averaging the key is that of versions which had none."""
    unused = {"averaging"} if spec.averaging is None else set()
    return spec.model_dump(mode="json", exclude={"seed", "trajectory", *unused})


def _memory_inputs(context: Context, spec: TrainingSpec) -> dict[str, Any]:
    """The rule for memory formats, where it could choose another than the contiguous one."""
    asked = may_be_channels_last(context.examples.inputs, batch_size=spec.batch_size)
    return {"memory_format": RULE} if asked else {}


def model_inputs(spec: ModelSpec, *, code: CodeRecord | None) -> dict[str, Any]:
    """The network without its name; of a user's factory, with all code that it loads."""
    inputs: dict[str, Any] = spec.model_dump(mode="json", exclude={"name", "training"})
    return inputs if code is None else {**inputs, "code": code.document()}
