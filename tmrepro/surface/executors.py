"""Who evaluates the chunks: this process, or several worker processes. The bytes of a chunk are the same either way."""

from __future__ import annotations

import ctypes
import dataclasses
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from tmrepro.determinism import Determinism, apply
from tmrepro.errors import ComputeError, TmreproError, UsageError
from tmrepro.surface.evaluators import choose, find_evaluator
from tmrepro.surface.problem import Evaluator, EvaluatorKind, Problem
from tmrepro.usercode import LoadedCode, loaded_code

PR_SET_PDEATHSIG = 1  # linux/prctl.h: the kernel ends a worker whose parent was killed


@dataclass(frozen=True)
class Chunk:
    """A block of the grid: its index in the store, and its coordinates."""

    index: tuple[int, int]
    a: Float64[np.ndarray, " I"]
    b: Float64[np.ndarray, " J"]


@dataclass(frozen=True)
class ChunkResult:
    """loss[i, j] and accuracy[i, j] of a chunk."""

    index: tuple[int, int]
    loss: Float64[np.ndarray, "I J"]
    accuracy: Float64[np.ndarray, "I J"]


def evaluate_chunks(
    problem: Problem,
    *,
    chunks: Sequence[Chunk],
    workers: int = 1,
    determinism: Determinism,
    kind: EvaluatorKind | None = None,
) -> Generator[ChunkResult, None, None]:
    """Evaluate `chunks` by evaluators of `kind` (None: the one by rule), yielding each as soon as it is done, in any order.

    Closing the iterator, or an exception in it (ctrl-C), ends the workers at once: their chunks are computed again later.

    Raises:
        ComputeError: a worker died (out of memory, most likely), or the user's code was changed since it was loaded here.
        UsageError: a custom model that cannot be sent to worker processes.
    """
    if not chunks:
        return
    kind = kind or choose(problem, level=determinism.level).kind
    if workers <= 1 or len(chunks) <= 1:
        evaluator = kind(problem)
        for chunk in chunks:
            yield _evaluate(evaluator, chunk)
        return
    yield from _in_processes(problem, chunks, min(workers, len(chunks)), determinism, kind.name)


def _in_processes(
    problem: Problem, chunks: Sequence[Chunk], workers: int, determinism: Determinism, evaluator: str
) -> Iterator[ChunkResult]:
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(_packed(problem), loaded_code(problem.model.modules()), determinism, evaluator, os.getpid()),
    )
    try:
        pending: set[Future[ChunkResult]] = {pool.submit(_work, chunk) for chunk in chunks}
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise ComputeError("a worker process died; with less memory than they need, use fewer --workers") from error
    except BaseException:
        # A chunk may take an hour; whoever asked to stop does not wait for it.
        for worker in set(multiprocessing.active_children()) - others:
            worker.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _packed(problem: Problem) -> bytes:
    """The problem by value. Torch's own way shares memory, of which a container may have very little."""
    # A view would be pickled with all of the tensor that it is a part of.
    targets = dataclasses.replace(problem.targets, values=problem.targets.values.clone())
    own = dataclasses.replace(problem, inputs=problem.inputs.clone(), targets=targets)
    try:
        return pickle.dumps(own)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(
            f"the model cannot be sent to worker processes: {error}. Define its classes and functions at the top level of "
            "a module, or use --workers 1"
        ) from error


_worker_evaluator: Evaluator | TmreproError | None = None


def _start_worker(packed: bytes, code: LoadedCode, determinism: Determinism, evaluator: str, parent: int) -> None:
    global _worker_evaluator
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is the parent's to handle
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # killed while this process was starting
            os._exit(1)
    apply(determinism)
    try:
        code.require()
        problem: Problem = pickle.loads(packed)  # noqa: S301 - our parent's bytes
        _worker_evaluator = find_evaluator(evaluator)(problem)
    except TmreproError as error:  # raised with the first chunk: here it would end the process without a word
        _worker_evaluator = error


def _work(chunk: Chunk) -> ChunkResult:
    if isinstance(_worker_evaluator, TmreproError):
        raise _worker_evaluator
    assert _worker_evaluator is not None  # noqa: S101
    return _evaluate(_worker_evaluator, chunk)


def _evaluate(evaluator: Evaluator, chunk: Chunk) -> ChunkResult:
    loss, accuracy = evaluator.block(chunk.a, chunk.b)
    return ChunkResult(chunk.index, loss, accuracy)
