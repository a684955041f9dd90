"""One training of one network. It continues from its checkpoint, and stores the points of its path if the spec asks for it.

In this process, training runs through and saves a checkpoint at intervals. In workers, it is done in slices: a task trains for
some seconds and returns its checkpoint. The next task continues from it on any worker. So a worker that dies costs one slice.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tmrepro.errors import DivergedError
from tmrepro.networks import build_model
from tmrepro.records import Epoch, History
from tmrepro.runner.checkpoints import CHECKPOINT_COST_FACTOR, Checkpoint, read_checkpoint, sealed
from tmrepro.runner.cluster import Task
from tmrepro.runner.context import Context, computing
from tmrepro.runner.workspace import Workspace
from tmrepro.spec import CustomModel, ModelSpec, TrainedModel, TrainingSpec
from tmrepro.store.atomic import WORK
from tmrepro.store.tensors import save_tensors
from tmrepro.training import CheckpointError, State, Trained, train
from tmrepro.training.checkpoint import read_progress
from tmrepro.training.layout import MemoryFormat
from tmrepro.training.loop import RESEED_STRIDE, Stop

Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Outcome:
    """The result of a training: theta* as tensors by name, and its numbers (`training.Trained`)."""

    tensors: Tensors
    history: History
    best_epoch: int
    stopped: Stop
    seed: int
    seeds_collapsed: tuple[int, ...]
    collapsed: bool
    memory_format: MemoryFormat


class Attempt:
    """The current attempt of a training: its seed and finished epochs. They are recorded if the training diverges."""

    def __init__(self, seed: int) -> None:
        self.first = self.seed = seed
        self.epochs: list[Epoch] = []
        self.continued: bytes | None = None

    def begin(self, seed: int) -> int:
        """Note that a network is built for a new attempt, or for the attempt of a checkpoint. Return the seed."""
        self.epochs = [] if self.continued is None else list(read_progress(self.continued).history)
        self.continued, self.seed = None, seed
        return seed

    def facts(self) -> dict[str, Any]:
        """Return what the stage records."""
        return {"seed": self.seed, "seeds_collapsed": list(range(self.first, self.seed, RESEED_STRIDE))}


def train_with_checkpoints(
    context: Context, model: TrainedModel, *, key: str, attempt: Attempt | None = None
) -> Outcome:
    """Train `model`, continuing from its last checkpoint. Store the points of its path if the spec asks for it.

    `key` is that of the training stage. `attempt` is kept up to date, for the record of a training that diverges.
    """
    attempt = attempt or Attempt(model.seed)
    with computing(f"training {model.name}", users_code=users_code(model.spec)):
        if context.engine.in_process:
            return _train_here(context, model, key=key, attempt=attempt)
        return _train_in_slices(context, model, key=key, attempt=attempt)


def _train_here(context: Context, model: TrainedModel, *, key: str, attempt: Attempt) -> Outcome:
    spec, name = training_of(model.spec), model.name
    checkpoint = Checkpoint(context.run, name, key=key)

    def on_epoch(epoch: Epoch, seed: int) -> None:
        context.reporter.epoch(name, epoch, seed=seed, max_epochs=spec.max_epochs)

    on_state = None if spec.trajectory is None else _states_aside(context, name, key=key)
    return _train(
        context,
        model,
        attempt,
        saved=checkpoint.load(),
        on_fresh=lambda: context.reporter.note(_fresh(name)),
        on_epoch=on_epoch,
        on_state=on_state,
        save=checkpoint.save,
    )


def _train_in_slices(context: Context, model: TrainedModel, *, key: str, attempt: Attempt) -> Outcome:
    spec, name = training_of(model.spec), model.name
    checkpoint = Checkpoint(context.run, name, key=key)
    aside = _states_aside(context, name, key=key)
    saved, overhead, slices = checkpoint.content(), math.inf, 0
    while True:
        seconds = checkpoint.seconds
        if seconds > 0 and math.isfinite(overhead):
            seconds = max(seconds, CHECKPOINT_COST_FACTOR * overhead)
        needs = {} if saved is None else {checkpoint.relative: hashlib.sha256(saved).hexdigest()}
        begin = time.monotonic()
        done = context.engine.call(
            TrainSlice(needs=needs, model=model, seconds=seconds, with_states=spec.trajectory is not None), context
        )
        if slices > 0:  # the first slice may include the start of the worker
            overhead = min(overhead, time.monotonic() - begin - done.seconds)
        slices += 1
        if done.is_fresh:
            context.reporter.note(_fresh(name))
        attempt.seed, attempt.epochs = done.seed, list(done.history)
        for epoch, seed in done.told:
            context.reporter.epoch(name, epoch, seed=seed, max_epochs=spec.max_epochs)
        for epoch_number, seed, tensors in done.states:
            aside(epoch_number, seed, tensors)
        if done.diverged is not None:
            raise DivergedError(done.diverged)
        if done.outcome is not None:
            return done.outcome
        saved = done.saved
        assert saved is not None  # noqa: S101
        checkpoint.put(saved)


@dataclass(frozen=True)
class Slice:
    """The result of a slice of a training: the finished epochs with their seeds (`told`), and the states of the path.

    A slice ends with an outcome, a divergence, or a checkpoint to continue from. `seed` and `history` are those of the current
    attempt, `seconds` the time of the slice.
    """

    told: tuple[tuple[Epoch, int], ...]
    states: tuple[tuple[int, int, Tensors], ...]
    seed: int
    history: tuple[Epoch, ...]
    seconds: float
    is_fresh: bool
    outcome: Outcome | None = None
    diverged: str | None = None
    saved: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class TrainSlice(Task[Slice]):
    """Train for `seconds`, to the end of an epoch, from the checkpoint among `needs` if there is one."""

    model: TrainedModel
    seconds: float
    with_states: bool

    def compute(self, workspace: Workspace) -> Slice:
        """See `Task.compute`."""
        begin = time.monotonic()
        told: list[tuple[Epoch, int]] = []
        states: list[tuple[int, int, Tensors]] = []
        saved = next((read_checkpoint(workspace.run / path) for path in self.needs), None)
        attempt = Attempt(self.model.seed)
        fresh = list[bool]()
        ended = dict[str, Any]()

        def save(pack: Callable[[], bytes]) -> None:
            if time.monotonic() - begin >= self.seconds:
                raise _SliceEnds(pack())

        with computing(f"training {self.model.name}", users_code=users_code(self.model.spec)):
            try:
                outcome = _train(
                    workspace,
                    self.model,
                    attempt,
                    saved=saved,
                    on_fresh=lambda: fresh.append(True),
                    on_epoch=lambda epoch, seed: told.append((epoch, seed)),
                    on_state=(lambda epoch, seed, state: states.append((epoch, seed, _arrays(state))))
                    if self.with_states
                    else None,
                    save=save,
                )
                ended = {"outcome": outcome}
            except DivergedError as error:
                ended = {"diverged": str(error)}
            except _SliceEnds as end:
                ended = {"saved": sealed(end.data)}
        seconds = time.monotonic() - begin
        return Slice(tuple(told), tuple(states), attempt.seed, tuple(attempt.epochs), seconds, bool(fresh), **ended)

    def to_hold(self, result: Slice) -> tuple[bytes, ...]:
        """Return the checkpoint: the next slice may run on the same worker."""
        return () if result.saved is None else (result.saved,)


class _SliceEnds(BaseException):
    """Ends a training with its checkpoint. Not an error: code that catches `Exception` must not catch it."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def _train(
    workspace: Workspace,
    model: TrainedModel,
    attempt: Attempt,
    *,
    saved: bytes | None,
    on_fresh: Callable[[], None],
    on_epoch: Callable[[Epoch, int], None],
    on_state: Callable[[int, int, State], None] | None,
    save: Callable[[Callable[[], bytes]], None],
) -> Outcome:
    """Call `training.train`. If `saved` is not a checkpoint of this training, call `on_fresh` and start from the beginning."""

    def tell(epoch: Epoch, seed: int) -> None:
        attempt.epochs.append(epoch)
        on_epoch(epoch, seed)

    def trained_from(saved: bytes | None) -> Outcome:
        attempt.continued = saved
        return _outcome(
            train(
                training_of(model.spec),
                build=lambda seed: build_model(
                    model.spec, signature=workspace.dataset.signature, seed=attempt.begin(seed)
                ),
                examples=workspace.examples,
                seed=model.seed,
                on_epoch=tell,
                on_state=on_state,
                save=save,
                saved=saved,
            )
        )

    try:
        return trained_from(saved)
    except CheckpointError:
        on_fresh()
        return trained_from(None)


def _outcome(trained: Trained) -> Outcome:
    return Outcome(
        _arrays(trained.model.state_dict()),
        trained.history,
        trained.best_epoch,
        trained.stopped,
        trained.seed,
        trained.seeds_collapsed,
        trained.collapsed,
        trained.memory_format,
    )


def _arrays(state: State) -> Tensors:
    """Return copies, since training continues to change the tensors."""
    return {name: np.array(value.detach().cpu().numpy()) for name, value in state.items()}


def _fresh(name: str) -> str:
    return f"the checkpoint of {name} is not one of this training; the training starts from the beginning"


def _states_aside(context: Context, name: str, *, key: str) -> Callable[[int, int, Any], None]:
    """Return a function that writes each state to its `state_path`."""

    def write(epoch: int, seed: int, state: State | Tensors) -> None:
        tensors = {name: np.asarray(value) for name, value in state.items()}
        save_tensors(state_path(context.run, name, key=key, seed=seed, epoch=epoch), tensors, work=context.work)

    return write


def state_path(run: Path, name: str, *, key: str, seed: int, epoch: int) -> Path:
    """Return where a point of the path of training is kept during the run."""
    return states_folder(run) / f"{name}.{key[:16]}" / str(seed) / f"{epoch}.safetensors"


def states_folder(run: Path) -> Path:
    """Return the folder of the points of all paths, which is kept until the paths are described."""
    return run / WORK / "path"


def training_of(spec: ModelSpec) -> TrainingSpec:
    """Return the merged training section, which every model of a resolved spec has."""
    assert isinstance(spec.training, TrainingSpec)  # noqa: S101
    return spec.training


def users_code(spec: ModelSpec) -> str | None:
    """Return the factory of a custom model, for messages about its failures; None for other models."""
    return spec.factory if isinstance(spec, CustomModel) else None
