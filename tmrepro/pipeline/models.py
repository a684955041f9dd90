"""The stages of one model: training up to theta*, then Algorithm 1."""

from __future__ import annotations

import hashlib
import inspect
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from tmrepro.errors import CollapsedError
from tmrepro.minimum import find_minimum
from tmrepro.models import build_model, load_factory
from tmrepro.pipeline.context import Context, computing, run_stage
from tmrepro.records import Minimum
from tmrepro.spec import CustomModel, ModelSpec, TrainedModel, TrainingSpec
from tmrepro.store.atomic import WORK, read_bytes, remove, write_bytes
from tmrepro.store.documents import load_history, save_history
from tmrepro.store.minima import read_minimum, save_minimum
from tmrepro.store.stages import StageRecord, stage_key
from tmrepro.store.tensors import save_labels, save_tensors
from tmrepro.training import Trained, train
from tmrepro.view import load_theta

CHECKPOINT_LIMIT_BYTES = 2**34
# A checkpoint costs its own time on the disk; so many times that is trained in between, but not less than the seconds.
CHECKPOINT_COST_FACTOR = 20
CHECKPOINT_SECONDS = float(os.environ.get("TMREPRO_CHECKPOINT_SECONDS", "10"))


def train_model(context: Context, model: TrainedModel) -> StageRecord:
    """Stage training/NAME: theta.safetensors and history.csv."""
    spec, name = _training_of(model.spec), model.name
    folder = f"models/{name}"
    inputs = {
        "platform": context.platform,
        "data": _data_inputs(context),
        "model": _model_inputs(model.spec),
        "training": spec.model_dump(mode="json", exclude={"seed"}),
        "seed": model.seed,
    }
    checkpoint = _Checkpoint(context, name, key=stage_key(inputs))

    def compute() -> tuple[list[str], dict[str, Any]]:
        with computing(f"training {name}"):
            trained = train(
                spec,
                build=lambda seed: _build(context, model.spec, seed=seed),
                examples=context.examples,
                seed=model.seed,
                on_epoch=lambda epoch, seed: context.reporter.epoch(name, epoch, seed=seed, max_epochs=spec.max_epochs),
                save=checkpoint.save,
                saved=checkpoint.load(),
            )
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
        }
        return [f"{folder}/theta.safetensors", f"{folder}/history.csv"], facts

    record = run_stage(context, f"training/{name}", inputs=inputs, folder=folder, compute=compute)
    checkpoint.remove()
    return record


def relabel_model(context: Context, model: TrainedModel, *, training: StageRecord) -> tuple[StageRecord, Minimum]:
    """Stage minimum/NAME: labels.npy and minimum.json. A collapse is noted as a failure of the run."""
    name, spec = model.name, context.spec
    folder = f"models/{name}"
    inputs = {"training": training.key, "labels": spec.minimum.labels, "name": name}

    def compute() -> tuple[list[str], dict[str, Any]]:
        with computing(f"relabelling with {name}"):
            found = find_minimum(
                _restore(context, model, training),
                name=name,
                spec=_training_of(model.spec),
                labels=spec.minimum.labels,
                examples=context.examples,
            )
        save_labels(context.run / folder / "labels.npy", found.labels, work=context.work)
        written = save_minimum(context.run, found.minimum, work=context.work)
        return [f"{folder}/labels.npy", written], {"folder": folder}

    record = run_stage(context, f"minimum/{name}", inputs=inputs, folder=folder, compute=compute)
    minimum = read_minimum(context.run, name)
    if minimum.category == "collapsed":
        seeds = ", ".join(str(seed) for seed in minimum.seeds_collapsed)
        context.failures.append(
            CollapsedError(
                f"{name} collapsed to a constant predictor with every seed tried ({seeds}): it is no minimum and has "
                "no surface. Use init: he, more warmup_steps, a lower lr, or more training.reseeds"
            )
        )
    return record, minimum


def _restore(context: Context, model: TrainedModel, training: StageRecord) -> Trained:
    """What training returned, from what it stored."""
    facts = training.facts
    module = load_theta(context.run, model, classes=context.examples.classes, size=context.spec.data.size)
    return Trained(
        model=module.to(context.device),
        history=load_history(context.run / "models" / model.name / "history.csv"),
        best_epoch=facts["best_epoch"],
        stopped=facts["stopped"],
        seed=facts["seed"],
        seeds_collapsed=tuple(facts["seeds_collapsed"]),
        collapsed=facts["collapsed"],
    )


class _Checkpoint:
    """The checkpoint file of one training: written now and then, read when a run continues."""

    def __init__(self, context: Context, name: str, *, key: str) -> None:
        self._work = context.work
        self._folder = context.run / WORK / "checkpoints"
        self._path = self._folder / f"{name}.{key[:16]}.safetensors"
        self._next = time.monotonic() + CHECKPOINT_SECONDS

    def save(self, pack: Callable[[], bytes]) -> None:
        begin = time.monotonic()
        if begin < self._next:
            return
        data = pack()
        write_bytes(self._path, hashlib.sha256(data).digest() + data, work=self._work)
        end = time.monotonic()
        self._next = end + max(CHECKPOINT_SECONDS, CHECKPOINT_COST_FACTOR * (end - begin))

    def load(self) -> bytes | None:
        """The last checkpoint; None if there is none, or if it isn't what was written."""
        if not self._path.is_file():
            return None
        content = read_bytes(self._path, limit_bytes=CHECKPOINT_LIMIT_BYTES)
        digest, data = content[:32], content[32:]
        return data if hashlib.sha256(data).digest() == digest else None

    def remove(self) -> None:
        remove(self._path)


def _training_of(spec: ModelSpec) -> TrainingSpec:
    """The merged training section, which every model of a resolved spec has."""
    assert isinstance(spec.training, TrainingSpec)  # noqa: S101
    return spec.training


def _build(context: Context, spec: ModelSpec, *, seed: int) -> nn.Module:
    return build_model(spec, classes=context.examples.classes, size=context.spec.data.size, seed=seed)


def _data_inputs(context: Context) -> dict[str, Any]:
    return {"fingerprint": context.dataset.fingerprint, "scaling": context.spec.data.scaling}


def _model_inputs(spec: ModelSpec) -> dict[str, Any]:
    """The network without its name; for a user's factory, with the hash of the file it stands in."""
    inputs: dict[str, Any] = spec.model_dump(mode="json", exclude={"name", "training"})
    if isinstance(spec, CustomModel):
        source = inspect.getsourcefile(load_factory(spec.factory))
        inputs["source"] = hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else None
    return inputs
