"""Train one network until its point is an LM or a GM, and take theta*.

The loop never waits for the device within an epoch. All random numbers of epoch e (the order of the images, and the draws of
layers such as dropout) depend on (seed, e) alone. So progress display, checkpoints and interruptions cannot change a
bit of the result.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from tmrepro.errors import DivergedError
from tmrepro.numerics.inference import Targets, clipped, evaluate, outputs, summarize, targets_of
from tmrepro.records import Epoch, History
from tmrepro.spec import TrainingSpec
from tmrepro.training.checkpoint import CheckpointError, Progress, pack, read_progress, unpack
from tmrepro.training.draws import epoch_order, layers_drawing
from tmrepro.training.layout import MemoryFormat, arranged, memory_format, torch_format
from tmrepro.training.optimizers import learning_rate, make_optimizer, set_learning_rate
from tmrepro.training.stopping import is_gm, is_lm, warmup_epochs

RESEED_STRIDE = 1_000_000  # added to the seed at each further try
COLLAPSE_MARGIN = 0.01  # a loss that differs from ln C by at most this share is that of a constant predictor

Stop = Literal["lm", "gm", "max_epochs"]
State = Mapping[str, Tensor]  # parameters and buffers by name


@dataclass(frozen=True)
class Examples:
    """Both parts of the data on the device, as given to networks: inputs [n, ...], and classes [n] or numbers [n, ...].

    `classes` is 0 if targets are numbers.
    """

    inputs: Shaped[Tensor, "n ..."]
    labels: Shaped[Tensor, "n ..."]
    validation_inputs: Shaped[Tensor, "m ..."]
    validation_labels: Shaped[Tensor, "m ..."]
    classes: int

    def training_targets(self, spec: TrainingSpec) -> Targets:
        """Return the given labels of the training part, for the loss of `spec`."""
        return targets_of(self.labels, loss=spec.loss, clip=spec.clip_probability)

    def validation_targets(self, spec: TrainingSpec) -> Targets:
        """Return the given labels of the held-out part, for the loss of `spec`."""
        return targets_of(self.validation_labels, loss=spec.loss, clip=spec.clip_probability)


@dataclass(frozen=True)
class Trained:
    """The result: `model` holds theta* in eval mode, with re-estimated batch norm. `history` is that of `seed`.

    `memory_format` is that of the training. `model` is contiguous again.
    """

    model: nn.Module
    history: History
    best_epoch: int
    stopped: Stop
    seed: int
    seeds_collapsed: tuple[int, ...]
    collapsed: bool
    memory_format: MemoryFormat = "contiguous"


def train(
    spec: TrainingSpec,
    *,
    build: Callable[[int], nn.Module],
    examples: Examples,
    seed: int,
    on_epoch: Callable[[Epoch, int], None] = lambda _epoch, _seed: None,
    on_state: Callable[[int, int, State], None] | None = None,
    save: Callable[[Callable[[], bytes]], None] = lambda _pack: None,
    saved: bytes | None = None,
) -> Trained:
    """Train `build(seed)`. If the network collapses, train again with further seeds.

    `save` is called after every epoch with a function that returns the bytes of a checkpoint, so that the caller decides how
    often to store them. `saved` are the bytes to continue from. `on_epoch` gets each epoch and the seed in use. `on_state` gets
    the epoch, the seed and the state at the epochs of `path_epochs`, before the checkpoint of that epoch. Training goes on to
    change this state, so keep a copy.

    Raises:
        DivergedError: T_i or a parameter is not finite.
        CheckpointError: `saved` is not a checkpoint of this model.
    """
    first = 0
    collapsed: tuple[int, ...] = ()
    if saved is not None:
        progress = read_progress(saved)
        first, collapsed = progress.attempt, progress.seeds_collapsed
        if not 0 <= first <= spec.reseeds:
            raise CheckpointError(f"not a checkpoint of this training: try {first} of {spec.reseeds + 1}")
    for attempt in range(first, spec.reseeds + 1):
        used = seed + attempt * RESEED_STRIDE
        run = _Attempt(spec, build(used).to(examples.inputs.device), examples, used, attempt, collapsed, on_state)
        if saved is not None:
            run.restore(saved)
            saved = None
        stopped = run.until_stopped(on_epoch, save)
        theta_star = run.candidate()
        if not is_collapsed(theta_star, examples, spec=spec):
            return run.outcome(theta_star, stopped, collapsed, collapsed=False)
        collapsed = (*collapsed, used)
    return run.outcome(theta_star, stopped, collapsed, collapsed=True)


def path_epochs(*, every: int, epochs: int, best_epoch: int) -> tuple[int, ...]:
    """Return the epochs at which the path of a training is recorded. 0 is the point before the first update."""
    return tuple(sorted({*range(0, epochs + 1, every), epochs, best_epoch}))


def is_collapsed(model: nn.Module, examples: Examples, *, spec: TrainingSpec) -> bool:
    """Return whether the network is a constant predictor: one arg-max for all images, or a loss within 1% of ln C.

    With numbers as targets: one output for all inputs, or a loss within 1% of the targets' variance, which is the loss of the
    best constant. If the targets are constant themselves, a constant predictor is right, and is not collapsed.
    """
    given = outputs(model, examples.inputs)
    if spec.loss == "mse":
        constant = bool((given == given[0]).all())
        chance = float(examples.labels.double().var(0, correction=0).mean())
        if chance == 0:
            return False
    else:
        constant = bool((given.argmax(1) == given[0].argmax()).all())
        chance = math.log(examples.classes)
    loss = summarize(given, targets=examples.training_targets(spec)).loss
    return constant or abs(loss - chance) <= COLLAPSE_MARGIN * chance


def reestimate_batch_norm(model: nn.Module, inputs: Shaped[Tensor, "n ..."], *, batch_size: int) -> None:
    """Re-estimate batch norm in one pass in data order, by a cumulative average as in `update_bn`. Then set eval mode.

    `update_bn` leaves dropout on; here its random numbers are fixed.
    """
    with torch.no_grad(), layers_drawing(0, 0, device=inputs.device):
        update_bn(torch.split(inputs, batch_size), model)
    model.eval()


def _training_losses(
    given: Float[Tensor, "n ..."], wanted: Shaped[Tensor, "n ..."], spec: TrainingSpec
) -> Float[Tensor, " n"]:
    """Return the loss of each input, in the precision of the outputs."""
    match spec.loss:
        case "sparse_cross_entropy":
            return clipped(functional.cross_entropy(given, wanted, reduction="none"), spec.clip_probability)
        case "mse":
            return (given - wanted).square().flatten(1).mean(1)
        case _:
            assert_never(spec.loss)


class _Attempt:
    """One training with one seed: the current weights, the best ones so far or their mean, and the history."""

    def __init__(
        self,
        spec: TrainingSpec,
        model: nn.Module,
        examples: Examples,
        seed: int,
        attempt: int,
        seeds_collapsed: tuple[int, ...],
        on_state: Callable[[int, int, State], None] | None,
    ) -> None:
        self.spec, self.examples, self.seed, self.on_state = spec, examples, seed, on_state
        self.memory_format = memory_format(model, examples.inputs, batch_size=spec.batch_size, seed=seed)
        self.model = model if self.memory_format == "contiguous" else arranged(model, self.memory_format)
        self.attempt, self.seeds_collapsed = attempt, seeds_collapsed
        self.optimizer = make_optimizer(model, spec)
        self.steps_per_epoch = -(-len(examples.inputs) // spec.batch_size)
        self.warmup = warmup_epochs(warmup_steps=spec.warmup_steps, steps_per_epoch=self.steps_per_epoch)
        self.history: list[Epoch] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch = 0
        self.rejected_best = 0
        self.seconds = 0.0

    @property
    def recorded(self) -> History:
        return History(tuple(self.history))

    def restore(self, saved: bytes) -> None:
        progress, self.best = unpack(saved, model=self.model, optimizer=self.optimizer)
        self.history = list(progress.history)
        self.best_epoch, self.rejected_best = progress.best_epoch, progress.rejected_best
        self.seconds = progress.seconds

    def until_stopped(
        self, on_epoch: Callable[[Epoch, int], None], save: Callable[[Callable[[], bytes]], None]
    ) -> Stop:
        every = self.spec.trajectory.every if self.spec.trajectory else 1
        if not self.history:
            self._record(0, self.model.state_dict())
        # A checkpoint is taken before the stopping rules are evaluated, so a continued training evaluates them again.
        while (stop := self._stop()) is None:
            self._epoch(len(self.history) + 1)
            on_epoch(self.history[-1], self.seed)
            if self.history[-1].epoch % every == 0:
                self._record(self.history[-1].epoch, self.model.state_dict())
            save(self._pack)
        self._record(self.history[-1].epoch, self.model.state_dict())
        self._record(self.best_epoch, self.best)
        return stop

    def _record(self, epoch: int, state: State) -> None:
        if self.on_state is not None:
            self.on_state(epoch, self.seed, state)

    def outcome(
        self, theta_star: nn.Module, stopped: Stop, seeds_collapsed: tuple[int, ...], *, collapsed: bool
    ) -> Trained:
        return Trained(
            theta_star,
            self.recorded,
            self.best_epoch,
            stopped,
            self.seed,
            seeds_collapsed,
            collapsed=collapsed,
            memory_format=self.memory_format,
        )

    def candidate(self) -> nn.Module:
        """Return a contiguous copy with the best weights so far, in eval mode, with re-estimated batch norm."""
        model = copy.deepcopy(self.model)
        if self.memory_format != "contiguous":
            model = arranged(model, "contiguous")
        model.load_state_dict(self.best)
        if self.spec.reestimate_batch_norm:
            reestimate_batch_norm(model, self.examples.inputs, batch_size=self.spec.batch_size)
        return model.eval()

    def _stop(self) -> Stop | None:
        losses, stop = [epoch.train_loss for epoch in self.history], self.spec.stop
        gm = is_gm(losses, epsilon=stop.epsilon)
        if stop.at == "lm":
            lm = is_lm(losses, epsilon=stop.epsilon, patience=stop.patience, warmup_epochs=self.warmup)
            if lm or (gm and self._confirmed_gm()):
                return "lm"
        elif stop.at == "gm" and gm and self._confirmed_gm():
            return "gm"
        return "max_epochs" if len(losses) >= self.spec.max_epochs else None

    def _confirmed_gm(self) -> bool:
        """Return whether T*, the eval-mode loss at the best point, is about zero as well."""
        if self.best_epoch == self.rejected_best:
            return False
        targets = self.examples.training_targets(self.spec)
        if evaluate(self.candidate(), self.examples.inputs, targets=targets).loss <= self.spec.stop.epsilon:
            return True
        self.rejected_best = self.best_epoch
        return False

    def _epoch(self, number: int) -> None:
        begin = time.monotonic()
        with layers_drawing(self.seed, number, device=self.examples.inputs.device):
            train_loss, train_accuracy, lr = self._pass(number)
        if not (math.isfinite(train_loss) and self._is_finite()):
            what = (
                "parameters are no longer finite" if math.isfinite(train_loss) else f"training loss became {train_loss}"
            )
            raise DivergedError(
                f"the {what} in epoch {number} (seed {self.seed}): "
                f"lower optimizer.lr (now {self.spec.optimizer.lr:g}) or lengthen warmup_steps ({self.spec.warmup_steps})"
            )
        examples = self.examples
        held_out = evaluate(
            self.model,
            examples.validation_inputs,
            targets=examples.validation_targets(self.spec),
        )
        averaged = -1 if self.spec.averaging is None else number - self.spec.averaging.start
        if averaged > 0:
            self._average(averaged)
            self.best_epoch = number
        elif averaged == 0 or not self.history or train_loss < self.history[self.best_epoch - 1].train_loss:
            self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
            self.best_epoch = number
        self.seconds += time.monotonic() - begin
        self.history.append(
            Epoch(number, train_loss, train_accuracy, held_out.loss, held_out.accuracy, lr, self.seconds)
        )

    def _average(self, averaged: int) -> None:
        """Add the current weights to the mean of `averaged` epochs."""
        for name, value in self.model.state_dict().items():
            mean = self.best[name]
            self.best[name] = mean + (value - mean) / (averaged + 1) if value.is_floating_point() else value.clone()

    def _is_finite(self) -> bool:
        return all(bool(value.isfinite().all()) for value in self.model.parameters())

    def _pass(self, number: int) -> tuple[float, float | None, float]:
        """Train one epoch. Return T_i, the training accuracy, and the last learning rate."""
        examples, spec = self.examples, self.spec
        inputs, labels = examples.inputs, examples.labels
        order = epoch_order(len(inputs), seed=self.seed, epoch=number).to(inputs.device)
        loss_sum = torch.zeros((), dtype=torch.float64, device=inputs.device)
        right = torch.zeros((), dtype=torch.int64, device=inputs.device)
        lr, layout = 0.0, torch_format(self.memory_format)
        self.model.train()
        for index, picked in enumerate(torch.split(order, spec.batch_size)):
            step = (number - 1) * self.steps_per_epoch + index
            lr = learning_rate(step, spec=spec, steps_per_epoch=self.steps_per_epoch)
            set_learning_rate(self.optimizer, lr)
            logits = self.model(inputs[picked].contiguous(memory_format=layout))
            wanted = labels[picked]
            losses = _training_losses(logits, wanted, spec)
            self.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(losses.mean())
            self.optimizer.step()
            with torch.no_grad():
                loss_sum += losses.detach().double().sum()
                if spec.loss != "mse":
                    right += (logits.argmax(1) == wanted).sum()
        accuracy = None if spec.loss == "mse" else int(right) / len(inputs)
        return float(loss_sum) / len(inputs), accuracy, lr

    def _pack(self) -> bytes:
        progress = Progress(
            self.attempt, self.seeds_collapsed, tuple(self.history), self.best_epoch, self.rejected_best, self.seconds
        )
        return pack(progress, model=self.model, best=self.best, optimizer=self.optimizer)
