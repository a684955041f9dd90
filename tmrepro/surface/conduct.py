"""Checks that a network and a loss are functions of parameters, buffers and one input at a time, as a loss surface needs.

This is not a proof. It makes calls that show most violations: in another order, in other batches, repeated, and away from
theta* on a used copy and on a fresh one.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tmrepro.errors import UsageError
from tmrepro.numerics.inference import EVALUATION_BATCH, Targets, image_losses
from tmrepro.surface.state import changed, kept, shared_memory, state_of
from tmrepro.surface.trace import away
from tmrepro.surface.watch import Watch, generators, require_apart, storages, storages_of

FEW = 12  # inputs of most calls
PIECES = (1, 4)  # positions of the cuts: one alone, then three, then the others
REDRAWN = 16  # additional calls of a network that draws random numbers, since rare draws show in few of them
REACH = 1.0  # distance from theta*, in root mean squares of each parameter

# Shares of the largest output. The same call gives the same bits, apart from effects of memory alignment. Another batch may round
# differently, far less in float64 than in float32, which is used if a network cannot be evaluated in float64.
SAME_CALL = 1e-6
OTHER_BATCH = {torch.float64: 1e-9, torch.float32: 1e-3}

Call = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Conduct:
    """The known behaviour of a network as a function.

    `only_plain`: why evaluators that rewrite it would be wrong; else None. `changes_inputs`: it gets copies of them.
    """

    only_plain: str | None = None
    changes_inputs: bool = False


IS_FUNCTION = Conduct()


def examine(
    model: nn.Module,
    inputs: Tensor,
    *,
    name: str = "model",
    given: nn.Module | None = None,
    whole: bool = False,
    remedy: str = "",
    earlier: Sequence[Watch] = (),
) -> Conduct:
    """Return how `model` (theta*, eval mode) behaves on some of its `inputs` [n, ...]. Only copies are called.

    `given` is the module that `model` was copied from, in any mode; calls must not reach it. `whole`: all inputs are one batch,
    so the outputs for an input may depend on the others. `remedy` tells the user how to request that. `earlier`:
    watches of earlier calls of other copies.

    Raises:
        UsageError: `model` is not a function of its parameters, its buffers and (unless `whole`) of one input at a time.
    """
    given = given or model
    _check_copy(given, model, name)
    few = inputs if whole else inputs[:FEW]
    used = copy.deepcopy(model)
    drawn = generators()
    batch, watch = few.clone(), Watch(used)
    with torch.no_grad(), watch:
        used(batch)
    require_apart(watch, given, model, name=name)
    draws = generators() != drawn
    changes_inputs = not _close(batch, few, within=0.0) or bool(watch.changed & storages([batch]))
    # Also if the values do not change, such as those of clamped weights: away from theta* they would.
    writes = bool(watch.changed & (storages_of(used) | storages(used.buffers())))

    def call(network: nn.Module) -> Call:
        def outputs(x: Tensor) -> Tensor:
            with torch.no_grad():
                found: Tensor = network(x.clone())
            return found.detach().clone()  # it may be a view of a parameter, and change with it

        return outputs

    changes = _changes(model, used, call(used), few, name)
    outputs = call(used)(few)
    if not _repeats(call(used), few, outputs, times=REDRAWN if draws else 1):
        raise UsageError(_not_repeated(name, draws=draws))
    alone = True
    if not whole:
        alone = _check_batches(model, call, inputs, name, remedy)
        if not _repeats(call(used), few, outputs, times=1):
            raise UsageError(_not_repeated(name, draws=draws))
    _check_away(model, used, call, few, outputs, given=given, name=name, watches=[watch, *earlier])
    if not alone and len(inputs) % EVALUATION_BATCH == 1:
        raise UsageError(
            f"{name}: fails on one input alone, and the last batch of {EVALUATION_BATCH} has only one; leave out one input"
        )
    reasons = {
        "the network changes its inputs": changes_inputs,
        f"the network changes its {changes[0] if changes else 'parameters or buffers'} when it is evaluated": writes
        or bool(changes),
        "the network draws random numbers": draws,
        "the network fails on one input alone": not alone,
    }
    return Conduct(next((reason for reason, holds in reasons.items() if holds), None), changes_inputs)


def examine_loss(
    outputs: Tensor, targets: Targets, *, given: nn.Module, whole: bool = False, remedy: str = ""
) -> str | None:
    """Return why only the plain evaluator is right for a caller's loss, or None. Raise unless it uses one input at a time.

    `outputs` [n, ...] are the network's for `targets` [n, ...]. `given` is the caller's network.

    Raises:
        UsageError: the loss depends on the batch, on earlier calls, on random numbers, or on the parameters of `given`.
    """
    n = len(outputs)
    drawn, watch = generators(), Watch()
    with torch.no_grad(), watch:
        losses = image_losses(outputs, targets)
    if watch.taken & storages_of(given):
        raise UsageError(
            "loss: uses the parameters of your module, which do not move along the surface; add a penalty on "
            "parameters to the module's outputs"
        )
    draws = generators() != drawn

    def again(begin: int, end: int) -> Tensor:
        with torch.no_grad():
            return image_losses(outputs[begin:end], targets.part(begin, end))

    if not all(_close(again(0, n), losses, within=SAME_CALL) for _ in range(REDRAWN if draws else 2)):
        raise UsageError(
            "loss: gives other values for the same outputs and targets: it must not draw random numbers or keep state "
            "between calls"
        )
    if whole:
        return None
    alone = True
    for begin, end in _pieces(n):
        try:
            piece = again(begin, end)
        except Exception:  # noqa: BLE001 - a user's loss may fail in any way on a single input
            piece = losses[:0]
        if not _close(piece, losses[begin:end], within=OTHER_BATCH[torch.float32]):
            if end - begin == 1 and piece.shape != losses[begin:end].shape:
                alone = False
                continue
            raise UsageError(
                f"loss: its value for an input depends on the other inputs of the batch; expected one loss per input{remedy}"
            )
    return None if alone else "the loss fails on one input alone"


def _check_copy(given: nn.Module, model: nn.Module, name: str) -> None:
    """Raise UsageError if a copy in eval mode is a different network, or if a part of it stays in train mode."""
    if pair := shared_memory(state_of(given)):
        raise UsageError(
            f"{name}: {pair[0]} and {pair[1]} share memory, but not in a copy; tie them by using one parameter in "
            "both places, as in torch.nn.functional.linear(x, self.encoder.weight.t())"
        )
    if names := changed(dict(given.named_parameters()), dict(model.named_parameters())):
        raise UsageError(
            f"{name}: eval() changes its parameter {names[0]!r}; call eval() first, then compute its surface"
        )
    for path, module in model.named_modules():
        is_dropout = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0  # noqa: SLF001 - the common base class
        if module.training and (is_dropout or isinstance(module, nn.modules.batchnorm._BatchNorm)):  # noqa: SLF001
            raise UsageError(
                f"{name}: {path or type(module).__name__!r} stays in train mode after eval(), because train() is overridden; a "
                "surface is evaluated in eval mode"
            )


def _changes(model: nn.Module, used: nn.Module, call: Call, few: Tensor, name: str) -> list[str]:
    """Return the names of what the first call changed in `used`. Raise if another call with the same inputs changes it again."""
    names = changed(state_of(model), state_of(used))
    if names:
        before = kept(state_of(used))
        call(few)
        if again := changed(before, state_of(used)):
            raise UsageError(
                f"{name}: its {again[0]} changes with every call in eval mode, so its outputs may depend on earlier calls; "
                "they must depend on parameters and inputs alone"
            )
    return names


def _check_batches(model: nn.Module, call: Callable[[nn.Module], Call], inputs: Tensor, name: str, remedy: str) -> bool:
    """Return whether the network accepts single inputs. Raise UsageError if outputs for an input depend on its batch."""
    few, full = inputs[:FEW], inputs[:EVALUATION_BATCH]
    network = call(copy.deepcopy(model))
    together, found = _tried(network, full), _tried(network, few)
    if together is None or found is None:
        raise UsageError(f"{name}: fails on {len(few)} of its inputs, but not on a larger batch{remedy}")
    if not _close(found, together[: len(few)], within=OTHER_BATCH[torch.float32]):
        raise UsageError(_depends(name, remedy))
    alone = True
    with _wide(model, few) as (wide, values):
        network = call(wide)
        expected = network(values)
        within = OTHER_BATCH[expected.dtype if expected.dtype in OTHER_BATCH else torch.float32]
        if not _close(network(values.flip(0)).flip(0), expected, within=within):
            raise UsageError(_depends(name, remedy))
        for begin, end in _pieces(len(values)):
            piece = _tried(network, values[begin:end])
            single = end - begin == 1
            if single and (piece is None or piece.shape != expected[begin:end].shape):
                alone = False
            elif piece is None or not _close(piece, expected[begin:end], within=within):
                raise UsageError(_depends(name, remedy))
    return alone


def _check_away(
    model: nn.Module,
    used: nn.Module,
    call: Callable[[nn.Module], Call],
    few: Tensor,
    outputs: Tensor,
    *,
    given: nn.Module,
    name: str,
    watches: Sequence[Watch],
) -> None:
    """Raise UsageError unless `used`, after a move, gives the same outputs as a fresh copy at that point.

    Raise it also if `used` then reads a tensor that a call under `watches` computed from the parameters at theta*. A fresh copy
    would not show it if all copies share that tensor.
    """
    fresh = copy.deepcopy(given)
    with away(fresh, reach=REACH):
        _place(used, like=fresh)
        fresh.eval()
        stale = set().union(*(watch.derived() for watch in watches)) - storages(used.buffers())
        with Watch() as watch:
            moved = call(used)(few)
        expected = call(fresh)(few)
    if _close(moved, outputs, within=0.0):
        raise UsageError(f"{name}: its outputs do not change when its parameters do, so its loss has no landscape")
    if watch.read & stale or not _close(moved, expected, within=SAME_CALL):
        raise UsageError(
            f"{name}: keeps something computed from its parameters, in eval() or in an earlier call, so its outputs do not "
            "change with them; compute it in forward"
        )
    _place(used, like=model)
    if not _close(call(used)(few), outputs, within=SAME_CALL):
        raise UsageError(_not_repeated(name, draws=False))


def _place(network: nn.Module, *, like: nn.Module) -> None:
    with torch.no_grad():
        for value, wanted in zip(network.parameters(), like.parameters(), strict=True):
            value.copy_(wanted)


@contextmanager
def _wide(model: nn.Module, few: Tensor) -> Iterator[tuple[nn.Module, Tensor]]:
    """Yield a copy of `model` and inputs in float64, if the model can be evaluated in it; else both unchanged."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        wide, values = copy.deepcopy(model).double(), few.double() if few.is_floating_point() else few
        found = _tried(wide, values)
        if found is not None and found.dtype == torch.float64 and bool(found.isfinite().all()):
            yield wide, values
            return
    finally:
        torch.set_default_dtype(before)
    yield copy.deepcopy(model), few


def _pieces(n: int) -> list[tuple[int, int]]:
    cuts = [0, *(cut for cut in PIECES if cut < n), n]
    return list(itertools.pairwise(cuts)) if n > 1 else []


def _tried(call: Callable[[Tensor], Any], inputs: Tensor) -> Tensor | None:
    try:
        with torch.no_grad():
            found = call(inputs.clone())
    except Exception:  # noqa: BLE001 - a user's forward may fail in any way on a batch of another size
        return None
    return found if isinstance(found, Tensor) else None


def _repeats(call: Call, inputs: Tensor, outputs: Tensor, *, times: int) -> bool:
    return all(_close(call(inputs), outputs, within=SAME_CALL) for _ in range(times))


def _close(found: Tensor, expected: Tensor, *, within: float) -> bool:
    """Return whether two tensors agree within a share of the largest finite number. Non-finite numbers must be equal."""
    if found.shape != expected.shape:
        return False
    if torch.equal(found, expected):
        return True
    one, other = found.double(), expected.double()
    finite = one.isfinite() & other.isfinite()
    same = (one == other) | (one.isnan() & other.isnan())
    scale = float(other[finite].abs().max()) if bool(finite.any()) else 0.0
    return bool((same | (finite & ((one - other).abs() <= within * scale))).all())


def _depends(name: str, remedy: str) -> str:
    return (
        f"{name}: its output for an input depends on the other inputs of the batch, as in batch norm without running statistics"
        f"; expected a function of one input at a time{remedy}"
    )


def _not_repeated(name: str, *, draws: bool) -> str:
    why = (
        "it draws random numbers in eval mode; dropout must follow self.training"
        if draws
        else "it keeps state from one call to the next"
    )
    return f"{name}: gives other outputs for the same inputs: {why}"
