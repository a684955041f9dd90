"""A surface in a folder. An unfinished surface is continued; a complete one is read."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from pydantic import TypeAdapter
from torch import Tensor, nn

from tmrepro.errors import DamagedError
from tmrepro.landscape.adapter import Adapted
from tmrepro.landscape.losses import CROSS_ENTROPY, TorchLoss
from tmrepro.landscape.totals import TotalLoss
from tmrepro.networks.parameters import layout_of
from tmrepro.numerics.inference import EVALUATION_BATCH, Targets, image_losses
from tmrepro.records import SurfaceError
from tmrepro.store.atomic import work_folder
from tmrepro.store.documents import write_json
from tmrepro.store.kept_surfaces import (
    QUESTION,
    check_question,
    forget_kept,
    kept_error,
    kept_question,
    open_kept,
    refuse_many_chunks,
)
from tmrepro.store.lock import remove_work, run_lock
from tmrepro.store.surface_group import Block
from tmrepro.store.zarr_metadata import ChunkIndex, error_attributes
from tmrepro.surface import Evaluator, Problem
from tmrepro.surface.selection import Rejection
from tmrepro.surface.trace import AWAY, away

Cell = tuple[ChunkIndex, slice, slice]

REJECTED = "evaluators rejected"
_REJECTIONS = TypeAdapter(list[Rejection])

DIGITS = 4  # significant digits of a loss that are the same on every platform
PROBES = 3  # number of random outputs whose losses are used too, since all losses of a perfect network may be 0


class Kept:
    """The surface of a problem in a folder. `rejected` and `evaluator` are those of an earlier process."""

    def __init__(
        self, folder: Path, problem: Problem, *, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"], chunk: int
    ) -> None:
        refuse_many_chunks(len(a), len(b), chunk)
        self._folder, self._problem, self._a, self._b, self._chunk = folder, problem, a, b, chunk
        found = kept_question(folder)
        self.evaluator = str(found.get("evaluator"))
        self.rejected = _rejections(found.get(REJECTED, []))
        self._begins_again = False

    def blocks(
        self, evaluator: Evaluator, *, cells: Sequence[Cell], attributes: dict[str, Any]
    ) -> Generator[tuple[Cell, Block], None, None]:
        """Yield every cell with its block: first those that are in the folder, then the others, which are computed and stored.

        Raises:
            UsageError: the folder has another surface or other content, or another process uses it.
            StorageError: the folder cannot be written.
        """
        folder, a, b = self._folder, self._a, self._b
        question = self._question(evaluator.name)
        if not self._begins_again:
            check_question(folder, question)
        with run_lock(folder):
            if self._begins_again:
                write_json(folder / QUESTION, question, work=work_folder(folder))
                self._begins_again = False
            check_question(folder, question)
            group = open_kept(folder, question, a=a, b=b, chunk=self._chunk, attributes=attributes)
            missing = []
            for cell in cells:
                index, _, _ = cell
                try:
                    kept = group.read(index)
                except DamagedError:
                    missing.append(cell)
                else:
                    yield cell, kept
            for cell in missing:
                index, rows, columns = cell
                block = evaluator.block(a[rows], b[columns])
                group.write(index, *block)
                yield cell, block
            remove_work(folder)

    def error(self) -> SurfaceError | None:
        """Return the error that was measured when the surface was complete; None if there is none."""
        return kept_error(self._folder, shape=(len(self._a), len(self._b)))

    def finish(self, attributes: dict[str, Any], *, error: SurfaceError) -> None:
        """Store the measured error with the surface."""
        question = self._question(str(attributes["evaluator"]))
        if self.error() != error:
            whole = attributes | error_attributes(error)
            with run_lock(self._folder):
                open_kept(self._folder, question, a=self._a, b=self._b, chunk=self._chunk, attributes=whole)
                remove_work(self._folder)

    def start_again(self, rejected: Sequence[Rejection]) -> None:
        """Remove the surface of a rejected evaluator, so that the next one can replace it."""
        self.rejected, self._begins_again = list(rejected), True
        with run_lock(self._folder):
            # question.json stays until the next evaluator begins, so that no chunk is used for another evaluator.
            forget_kept(self._folder)
            remove_work(self._folder)

    def _question(self, evaluator: str) -> dict[str, Any]:
        found = question_of(self._problem, a=self._a, b=self._b, chunk=self._chunk, evaluator=evaluator)
        return found | ({REJECTED: [asdict(one) for one in self.rejected]} if self.rejected else {})


def _rejections(found: object) -> list[Rejection]:
    try:
        return _REJECTIONS.validate_json(json.dumps(found), strict=True)
    except ValueError:
        return []  # then the question differs, and the folder is refused


def question_of(
    problem: Problem, *, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"], chunk: int, evaluator: str
) -> dict[str, Any]:
    """Return hashes of all inputs of a surface. Code cannot be hashed; it is identified by its values for the first inputs.

    Network and loss are called at theta* and away from it. The loss is also called on random outputs.
    """
    facts, model = problem.directions, problem.model
    network = model.model if isinstance(model, Adapted) else model
    return {
        "parameters": _hash_of_state(network),
        "inputs": _hash_of_inputs(model, problem.inputs),
        **_loss_of(problem.targets),
        "model": type(network).__qualname__,
        **_first_losses(problem),
        "directions": [hashlib.sha256(vector.tobytes()).hexdigest() for vector in (facts.delta, facts.eta)],
        "grid": {"a": a.tolist(), "b": b.tolist(), "chunk": chunk},
        "precision": problem.precision,
        "batch": "all" if problem.whole else None,
        "evaluator": evaluator,
    }


def _hash_of_inputs(model: nn.Module, inputs: Tensor) -> str:
    """Return the hash of the arguments of a network, with their names, or of its only argument."""
    if not isinstance(model, Adapted) or model.given is None:
        return _hash(inputs)
    columns = [f"{model.given.label(index)} {_hash(column)}" for index, column in enumerate(model.given.columns)]
    return hashlib.sha256("\n".join(columns).encode()).hexdigest()


def _loss_of(targets: Targets) -> dict[str, Any]:
    """Return hashes of the targets, the name of the loss, and the settings of a loss of torch."""
    match targets.loss:
        case None:
            return {"targets": _hash(targets.values), "loss": CROSS_ENTROPY}
        case TorchLoss(loss=own, factor=factor):
            plain = {name: value for name, value in vars(own).items() if isinstance(value, int | float | str)}
            tensors = {name: _hash(value) for name, value in own.named_buffers()}
            made = {name: plain[name] for name in sorted(plain) if name != "training" and not name.startswith("_")}
            words = json.dumps({**made, **tensors, "factor": factor})
            return {"targets": _hash(targets.values), "loss": f"{type(own).__qualname__} {words}"}
        case TotalLoss(loss=own) as total:
            return {"targets": _hash(total.get_buffer("targets")), "loss": _name_of(own)}
        case own:
            return {"targets": _hash(targets.values), "loss": _name_of(own)}


def _name_of(loss: object) -> str:
    return str(getattr(loss, "__qualname__", type(loss).__qualname__))


def _first_losses(problem: Problem) -> dict[str, Any]:
    """Return the mean losses of the first inputs, rounded to digits that are the same on every platform."""
    first = len(problem.inputs) if problem.whole else min(EVALUATION_BATCH, len(problem.inputs))
    targets = problem.targets.part(0, first)
    network = copy.deepcopy(problem.model)

    def mean(outputs: Tensor) -> str:
        try:
            return f"{float(image_losses(outputs, targets).mean()):.{DIGITS}g}"
        except Exception as error:  # noqa: BLE001 - for example, a loss of probabilities may reject other outputs
            return type(error).__name__

    with torch.no_grad():
        outputs = network(problem.inputs[:first].clone())
        at_theta = mean(outputs)
        moved = []
        for reach in AWAY:
            with away(network, reach=reach):
                moved.append(mean(network(problem.inputs[:first].clone())))
        draws = [
            torch.randn(outputs.shape, generator=torch.Generator().manual_seed(probe)).to(outputs)
            for probe in range(PROBES)
        ]
        drawn = [mean(3 * draw) for draw in draws] if outputs.is_floating_point() else []
    return {"loss at theta*": at_theta, "losses away from theta*": moved, "losses of outputs drawn at random": drawn}


def _hash_of_state(model: nn.Module) -> str:
    digest = hashlib.sha256(repr(layout_of(model)).encode())
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        digest.update(f"{name} {_hash(value)}".encode())
    return digest.hexdigest()


def _hash(tensor: Tensor) -> str:
    data = (tensor.detach() if tensor.layout is torch.strided else tensor.detach().to_dense()).cpu().contiguous()
    body = data.reshape(-1).view(torch.uint8) if data.numel() else data
    return hashlib.sha256(f"{data.dtype} {list(data.shape)} ".encode() + body.numpy().tobytes()).hexdigest()
