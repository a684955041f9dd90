"""The bytes of a chunk depend on the problem alone: not on the order, on other chunks, or on who computes it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.surface.problems import network_of, problem_around
from tmrepro.numerics.determinism import Determinism
from tmrepro.surface import evaluate_chunks
from tmrepro.surface.executors import Chunk, ChunkResult

MACHINE = Determinism("portable", 1)
AXIS = np.linspace(-1, 2, 5)
# 5 points an axis in chunks of 2: the last ones are narrower, and (0, 2) is not (2, 0).
CHUNKS = [Chunk((i, j), AXIS[2 * i : 2 * i + 2], AXIS[2 * j : 2 * j + 2] * 1.5) for i in range(3) for j in range(3)]


def by_index(results: list[ChunkResult]) -> dict[tuple[int, int], tuple[bytes, bytes]]:
    return {result.index: (result.loss.tobytes(), result.accuracy.tobytes()) for result in results}


@pytest.mark.parametrize("kind", ["dnn", "normed"])
def test_a_chunk_is_the_same_alone_in_any_order_and_after_any_other(kind: str) -> None:
    asked = problem_around(network_of(kind), precision="float32")
    all_ = list(evaluate_chunks(asked, chunks=CHUNKS, determinism=MACHINE))
    whole = by_index(all_)
    assert len(whole) == 9
    assert all(result.loss.shape == (len(c.a), len(c.b)) for result, c in zip(all_, CHUNKS, strict=True))
    assert by_index(list(evaluate_chunks(asked, chunks=CHUNKS[::-1], determinism=MACHINE))) == whole
    for chunk in CHUNKS:
        (alone,) = evaluate_chunks(asked, chunks=[chunk], determinism=MACHINE)
        assert by_index([alone])[chunk.index] == whole[chunk.index]


def test_no_chunks_give_no_results() -> None:
    assert list(evaluate_chunks(problem_around(network_of("dnn")), chunks=[], determinism=MACHINE)) == []
