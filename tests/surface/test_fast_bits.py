"""How `tracked` and `prefix` compute: the same bits in any chunk, order, thread and process, and nothing else touched."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.surface.problems import problem_around
from tmrepro.networks.parameters import theta_of
from tmrepro.numerics.determinism import Determinism
from tmrepro.surface import PlainEvaluator, Problem, evaluate_chunks, find_evaluator
from tmrepro.surface.cpu import geometry as geometry_module
from tmrepro.surface.executors import Chunk

FAST = ("tracked", "prefix")
MACHINE = Determinism("portable", 1)
# More than 16 points along b, so that tracking begins afresh within the block; the corner is not (0, 0).
A, B = np.linspace(-0.6, 1.3, 5), np.linspace(-1.7, 2.2, 19)


def small(kind: str) -> Problem:
    """Return a problem of matrices (dense) or convolutions (maps), each time the same."""
    torch.manual_seed(3)
    layers = {
        "dense": [nn.Flatten(), nn.Linear(108, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)],
        "maps": [
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 6, 3, 2),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(24, 3),
        ],
    }[kind]
    return problem_around(nn.Sequential(*layers).eval(), precision="float32", n=23)


CHUNKS = [Chunk((i, j), A[3 * i : 3 * i + 3], B[7 * j : 7 * j + 7]) for i in range(2) for j in range(3)]


def bytes_of(problem: Problem, name: str, chunks: list[Chunk]) -> dict[tuple[int, int], tuple[bytes, bytes]]:
    results = evaluate_chunks(problem, chunks=chunks, determinism=MACHINE, kind=find_evaluator(name))
    return {result.index: (result.loss.tobytes(), result.accuracy.tobytes()) for result in results}


@pytest.mark.parametrize("kind", ["dense", "maps"])
@pytest.mark.parametrize("name", FAST)
def test_a_chunk_is_the_same_alone_in_any_order_and_after_any_other(name: str, kind: str) -> None:
    problem = small(kind)
    whole = bytes_of(problem, name, CHUNKS)
    assert len(whole) == 6
    assert bytes_of(problem, name, CHUNKS[::-1]) == whole
    for chunk in CHUNKS:
        assert bytes_of(problem, name, [chunk])[chunk.index] == whole[chunk.index]
    kind = find_evaluator(name)
    if kind.pointwise:
        loss, accuracy = kind(problem).block(CHUNKS[1].a[1:2], CHUNKS[1].b[2:3])
        whole_loss, whole_accuracy = kind(problem).block(CHUNKS[1].a, CHUNKS[1].b)
        assert (loss[0, 0], accuracy[0, 0]) == (whole_loss[1, 2], whole_accuracy[1, 2])


@pytest.mark.parametrize("kind", ["dense", "maps"])
def test_tracked_bytes_do_not_depend_on_threads(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry_module, "LARGEST_TILE", 5)
    found = set()
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        loss, accuracy = find_evaluator("tracked")(small(kind)).block(A, B)
        assert torch.get_num_threads() == threads
        found.add((loss.tobytes(), accuracy.tobytes()))
    torch.set_num_threads(1)
    assert len(found) == 1


def test_a_few_points_alone_are_not_tracked() -> None:
    """To begin costs more than to evaluate them plainly."""
    problem = small("maps")
    a, b = A[:2], B[:4]
    assert (
        find_evaluator("tracked")(problem).block(a, b)[0].tobytes() == PlainEvaluator(problem).block(a, b)[0].tobytes()
    )
    a = A[:3]
    assert (
        find_evaluator("tracked")(problem).block(a, b)[0].tobytes() != PlainEvaluator(problem).block(a, b)[0].tobytes()
    )


@pytest.mark.parametrize("name", FAST)
def test_evaluating_leaves_the_model_and_the_images_alone(name: str) -> None:
    problem = small("maps")
    theta, inputs = theta_of(problem.model).tobytes(), problem.inputs.clone()
    find_evaluator(name)(problem).block(A, B)
    assert theta_of(problem.model).tobytes() == theta
    assert torch.equal(problem.inputs, inputs)


@pytest.mark.parametrize("name", FAST)
def test_other_numbers_are_left_to_the_plain_evaluator(name: str) -> None:
    problem = small("dense")
    assert "bfloat16" in find_evaluator(name).why_unsupported(replace(problem, precision="bfloat16"))
    assert "not floating point" in find_evaluator(name).why_unsupported(replace(problem, inputs=problem.inputs.long()))


def test_tracking_works_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container without a home and a writable root: numba finds no folder for what it compiled."""

    from numba.core import caching

    from tmrepro.surface.cpu import kernels

    expected = find_evaluator("tracked")(small("dense")).block(A, B)[0].tobytes()
    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", _refuse)
    try:
        importlib.reload(kernels)
        assert find_evaluator("tracked")(small("dense")).block(A, B)[0].tobytes() == expected
    finally:
        monkeypatch.undo()
        importlib.reload(kernels)


def _refuse(_: object) -> None:
    raise PermissionError("read-only")
