"""Points in batches, replayed and compiled passes, against the plain evaluator; what needs a GPU says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tmrepro.directions.gaussian import DirectionPair
from tmrepro.errors import UsageError
from tmrepro.networks.parameters import theta_of
from tmrepro.numerics.determinism import Determinism
from tmrepro.numerics.inference import Targets
from tmrepro.records import Direction
from tmrepro.surface import PlainEvaluator, Problem, choose, evaluate_chunks, find_evaluator
from tmrepro.surface.executors import Chunk
from tmrepro.surface.gpu import batched as batched_module

CLASSES, IMAGES = 4, 37
A, B = np.linspace(-0.6, 1.3, 3), np.linspace(-1.7, 2.2, 19)  # more columns than a batch of points
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def pose(model: nn.Module, *, labels: str = "hard", clip: float | None = None, precision: Any = "float32") -> Problem:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(IMAGES, 3, 4, 4, generator=generator)
    draws = np.random.default_rng(3).normal(size=(2, theta_of(model).size))
    draws *= np.array([[1.0], [0.7]]) * np.linalg.norm(theta_of(model)) / np.linalg.norm(draws, axis=1, keepdims=True)
    values = torch.arange(IMAGES) % CLASSES
    if labels == "soft":
        values = torch.randn(IMAGES, CLASSES, generator=generator).softmax(1)
    facts = Direction(seed=0, sha256="", norm=1.0)
    pair = DirectionPair(*draws.astype(np.float32), facts, facts, 0.0)
    return Problem(model.eval(), pair, inputs, Targets(values, clip), precision)


def network(widths: list[int], seed: int = 0, *, relu: bool = True, bias: bool = True) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in zip([48, *widths], [*widths, CLASSES], strict=True):
            layers += [nn.Linear(before, after, bias=bias), nn.ReLU() if relu else nn.Identity()]
        return nn.Sequential(*layers[:-1])


def check(problem: Problem, name: str, a: np.ndarray = A, b: np.ndarray = B) -> np.ndarray:
    loss, accuracy = find_evaluator(name)(problem).block(a, b)
    expected, right = PlainEvaluator(replace(problem, precision="float64")).block(a, b)
    assert (np.abs(loss - expected) <= 1e-5 * (np.abs(expected) + 0.01)).all()
    assert np.abs(accuracy - right).max() <= 1 / IMAGES
    return loss


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["hard", "soft", "clipped"]),
    st.integers(1, 5000),
)
def test_random_networks_are_within_the_bound(
    widths: list[int], relu: bool, bias: bool, labels: str, size: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batched_module, "VALUES_BYTES", size)  # so that images fall into groups
        model = network(widths, relu=relu, bias=bias)
        check(pose(model, labels=labels, clip=0.05 if labels == "clipped" else None), "batched")


def test_what_is_not_finite_is_what_the_plain_evaluator_says() -> None:
    problem, a, b = pose(network([6])), np.array([0.0, 1e30, 3e39]), np.array([-1e20, 0.0, 1.0])
    loss, _ = find_evaluator("batched")(problem).block(a, b)
    expected, _ = PlainEvaluator(problem).block(a, b)
    assert not np.isfinite(loss).all()
    np.testing.assert_array_equal(np.isnan(loss), np.isnan(expected))
    np.testing.assert_allclose(loss[0, 1:], expected[0, 1:], rtol=1e-5)


def test_bfloat16_is_taken_by_rule_and_is_near_float32() -> None:
    low = pose(network([8, 6]), precision="bfloat16")
    assert choose(low).kind.name == "batched"
    full, plain = (PlainEvaluator(replace(low, precision=p)).block(A, B)[0] for p in ("float32", "bfloat16"))
    loss = find_evaluator("batched")(low).block(A, B)[0]
    errors = [np.abs(found - full) / (full + 0.01) for found in (loss, plain)]
    assert 1e-5 < errors[0].max() < 0.05
    assert errors[0].max() < 2 * errors[1].max()  # the first layer is in float32


def test_a_chunk_is_the_same_alone_and_after_others() -> None:
    problem, evaluator = pose(network([8, 6])), find_evaluator("batched")(pose(network([8, 6])))
    evaluator.block(A, B)
    again = evaluator.block(A[:2], B[3:9])[0]
    assert again.tobytes() == find_evaluator("batched")(problem).block(A[:2], B[3:9])[0].tobytes()


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, CLASSES)), "no chain of matrices"),
        (nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Tanh(), nn.Linear(8, CLASSES)), "no chain of matrices"),
        (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(48), nn.Linear(48, CLASSES)), "is a BatchNorm1d"),
    ],
)
def test_what_does_not_fit_says_why(model: nn.Module, why: str) -> None:
    assert why in find_evaluator("batched").why_unsupported(pose(model))


def test_other_numbers_are_left_to_the_plain_evaluator() -> None:
    problem = pose(network([6]))
    assert "float32 and below" in find_evaluator("batched").why_unsupported(replace(problem, precision="float64"))
    assert "caller's own" in find_evaluator("batched").why_unsupported(
        replace(problem, targets=replace(problem.targets, loss=lambda outputs, _: outputs.sum(1)))
    )


def test_graphs_are_replayed_on_cuda_alone() -> None:
    problem = pose(network([6]))
    with pytest.raises(UsageError, match="replays CUDA graphs"):
        choose(problem, forced="replayed")


def test_a_gpu_gets_large_batches_of_small_images() -> None:
    problem, replayed = pose(network([6])), find_evaluator("replayed")
    small, large = (replace(problem, inputs=torch.zeros(2, 3, size, size)) for size in (32, 224))
    assert replayed.blocks(small) == {"images": 1024, "points": 1}
    assert replayed.blocks(large) == {"images": 128, "points": 1}


def test_compiled_is_for_level_fast() -> None:
    problem = pose(Tanh())
    with pytest.raises(UsageError, match="requires determinism: fast"):
        choose(problem, forced="compiled")
    assert choose(problem).kind.name == "plain"
    expected = "compiled" if find_evaluator("compiled").why_unsupported(problem) is None else "plain"
    assert choose(problem, level="fast").kind.name == expected


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "C++ compiler" in find_evaluator("compiled").why_unsupported(pose(Tanh()))
    assert choose(pose(Tanh()), level="fast").kind.name == "plain"


class Tanh(nn.Module):
    """A network that no rule but the last fits."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(48, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x.flatten(1).tanh()) + 0 * x.sum()


@pytest.mark.slow
def test_compiled_numbers_are_within_the_bound() -> None:
    problem = pose(Tanh())
    if why := find_evaluator("compiled").why_unsupported(problem):
        pytest.skip(why)
    chunks = [Chunk((0, 0), A, B[:4])]
    (result,) = evaluate_chunks(
        problem, chunks=chunks, determinism=Determinism("fast", 1), kind=find_evaluator("compiled")
    )
    expected = PlainEvaluator(replace(problem, precision="float64")).block(A, B[:4])[0]
    assert (np.abs(result.loss - expected) <= 1e-5 * (np.abs(expected) + 0.01)).all()


@needs_gpu
@pytest.mark.parametrize("name", ["batched", "replayed"])
def test_a_gpu_agrees_with_the_cpu(name: str) -> None:
    here = pose(network([8, 6]))
    there = replace(
        here, model=here.model.cuda(), inputs=here.inputs.cuda(), targets=Targets(here.targets.values.cuda())
    )
    assert choose(there).kind.name == "batched"
    loss = find_evaluator(name)(there).block(A, B)[0]
    here.model.cpu()
    np.testing.assert_allclose(loss, PlainEvaluator(here).block(A, B)[0], rtol=1e-4)
