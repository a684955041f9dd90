"""Directions, against numpy alone: everything that a third party needs to draw them again is in this file."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tmrepro.directions.gaussian import DirectionPair, Moves, Normalization, draw_directions, draw_stream, normalize
from tmrepro.errors import UsageError
from tmrepro.networks.parameters import Layout, ParameterShape, layout_of, theta_of
from tmrepro.numerics.portable_normal import END

LAYOUT: Layout = (
    ParameterShape("first.weight", (4, 3, 2, 2)),
    ParameterShape("first.bias", (4,)),
    ParameterShape("scale", ()),
    ParameterShape("last.weight", (5, 4)),
    ParameterShape("last.bias", (5,)),
)
SIZES = [48, 4, 1, 20, 5]
N = sum(SIZES)
EDGES = np.cumsum([0, *SIZES])


def stream_of(seed: int, n: int = N) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=seed)).standard_normal(n, dtype=np.float32)


def trained() -> np.ndarray:
    return (np.random.default_rng(7).normal(size=N) * np.linspace(0.1, 3, N)).astype(np.float32)


def drawn(
    seeds: tuple[int, int] = (1, 2), *, normalization: Normalization = "l2", moves: Moves = "all"
) -> DirectionPair:
    return draw_directions(seeds, theta=trained(), layout=LAYOUT, normalization=normalization, moves=moves)


@given(st.integers(0, 2**53 - 1), st.integers(1, 300))
def test_stream_is_numpys_philox_in_float32(seed: int, n: int) -> None:
    stream, numpys = draw_stream(seed, size=n), stream_of(seed, n)
    assert stream.dtype == np.float32
    table = np.abs(numpys) <= END
    assert stream[table].tobytes() == numpys[table].tobytes()
    np.testing.assert_array_max_ulp(
        stream, numpys, maxulp=1
    )  # beyond it NumPy asks the C library: tests/numerics/test_portable_normal.py


def test_stream_does_not_depend_on_global_random_state() -> None:
    before = draw_stream(3, size=10)
    np.random.seed(99)  # noqa: NPY002 - the state that must not count
    torch.manual_seed(99)
    assert draw_stream(3, size=10).tobytes() == before.tobytes()


def test_stream_of_a_seed_depends_on_the_number_of_parameters_alone() -> None:
    """Two networks of 12 parameters, of different shapes: the same numbers, in the order of named_parameters."""
    wide, deep = nn.Linear(3, 3), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    found = [
        draw_directions((5, 6), theta=theta_of(model), layout=layout_of(model), normalization="l2", moves="all")
        for model in (wide, deep)
    ]
    assert found[0].delta.tobytes() == found[1].delta.tobytes()
    assert found[0].eta.tobytes() == found[1].eta.tobytes()


def test_first_seed_is_deltas_and_second_etas() -> None:
    pair = drawn((11, 5), normalization="none")
    assert pair.delta.tobytes() == stream_of(11).tobytes()
    assert pair.eta.tobytes() == stream_of(5).tobytes()
    assert (pair.delta_facts.seed, pair.eta_facts.seed) == (11, 5)


def test_sha256_is_that_of_the_raw_little_endian_stream_whatever_the_normalisation() -> None:
    for normalization in ("l2", "filter", "layer", "none"):
        pair = drawn(normalization=normalization, moves="weights")
        assert pair.delta_facts.sha256 == hashlib.sha256(stream_of(1).astype("<f4").tobytes()).hexdigest()
        assert pair.eta_facts.sha256 == hashlib.sha256(stream_of(2).astype("<f4").tobytes()).hexdigest()


def test_l2_divides_by_one_float64_norm_over_the_whole_vector() -> None:
    raw = stream_of(1).astype(np.float64)
    expected = (raw / np.sqrt(np.sum(raw * raw))).astype(np.float32)
    assert drawn().delta.tobytes() == expected.tobytes()


def test_filter_gives_each_filter_the_trained_filters_norm_and_zeroes_the_rest() -> None:
    """Li et al. 2018, section 4, filter by filter in a plain loop."""
    direction, raw, theta = drawn(normalization="filter").delta, stream_of(1), trained()
    expected = np.zeros(N)
    for tensor, rows in ((0, 4), (3, 5)):
        begin, size = EDGES[tensor], SIZES[tensor] // rows
        for row in range(rows):
            part = slice(begin + row * size, begin + (row + 1) * size)
            norm = math.sqrt(sum(float(value) ** 2 for value in raw[part]))
            wanted = math.sqrt(sum(float(value) ** 2 for value in theta[part]))
            expected[part] = raw[part].astype(np.float64) * wanted / norm
    np.testing.assert_allclose(direction, expected, rtol=2e-7, atol=0)  # one rounding to float32
    assert not direction[EDGES[1] : EDGES[3]].any()
    assert not direction[EDGES[4] :].any()


def test_layer_gives_each_tensor_the_trained_tensors_norm_and_zeroes_the_rest() -> None:
    direction, raw, theta = drawn(normalization="layer").delta, stream_of(1), trained()
    expected = np.zeros(N)
    for tensor in (0, 3):
        part = slice(EDGES[tensor], EDGES[tensor + 1])
        norm = math.sqrt(sum(float(value) ** 2 for value in raw[part]))
        wanted = math.sqrt(sum(float(value) ** 2 for value in theta[part]))
        expected[part] = raw[part].astype(np.float64) * wanted / norm
    np.testing.assert_allclose(direction, expected, rtol=2e-7, atol=0)


def test_weights_alone_move_and_are_masked_before_the_norm_is_taken() -> None:
    raw = stream_of(1).astype(np.float64)
    raw[EDGES[1] : EDGES[3]] = 0
    raw[EDGES[4] :] = 0
    expected = (raw / np.sqrt(np.sum(raw * raw))).astype(np.float32)
    pair = drawn(moves="weights")
    assert pair.delta.tobytes() == expected.tobytes()
    assert pair.delta_facts.norm == pytest.approx(1, abs=1e-6)
    as_drawn = drawn(normalization="none", moves="weights").delta
    assert as_drawn.tobytes() == raw.astype(np.float32).tobytes()


def test_moves_changes_nothing_where_biases_are_zeroed_anyway() -> None:
    for normalization in ("filter", "layer"):
        all_, weights = (drawn(normalization=normalization, moves=moves).delta for moves in ("all", "weights"))
        assert all_.tobytes() == weights.tobytes()


def test_a_filter_that_training_left_at_zero_does_not_move() -> None:
    theta = trained()
    theta[:12] = 0
    direction = normalize(stream_of(1), theta=theta, layout=LAYOUT, normalization="filter", moves="all")
    assert not direction[:12].any()
    assert direction[12:48].all()


def test_norms_and_cosine_are_measured_on_the_directions_as_used() -> None:
    for normalization in ("l2", "filter", "layer", "none"):
        pair = drawn(normalization=normalization)
        delta, eta = pair.delta.astype(np.float64), pair.eta.astype(np.float64)
        assert pair.delta_facts.norm == pytest.approx(np.linalg.norm(delta), rel=1e-13)
        assert pair.eta_facts.norm == pytest.approx(np.linalg.norm(eta), rel=1e-13)
        cosine = delta @ eta / np.linalg.norm(delta) / np.linalg.norm(eta)
        assert pair.cosine == pytest.approx(cosine, rel=1e-12)
    same = drawn((4, 4))
    assert same.cosine == pytest.approx(1, abs=1e-12)


def test_drawing_leaves_theta_and_the_stream_alone() -> None:
    theta, raw = trained(), stream_of(1)
    normalize(raw, theta=theta, layout=LAYOUT, normalization="filter", moves="weights")
    assert theta.tobytes() == trained().tobytes()
    assert raw.tobytes() == stream_of(1).tobytes()


@pytest.mark.parametrize(
    ("normalization", "moves"), [("l2", "weights"), ("none", "weights"), ("filter", "all"), ("layer", "all")]
)
def test_a_direction_that_moves_nothing_is_refused(normalization: Normalization, moves: Moves) -> None:
    layout = (ParameterShape("a", (3,)), ParameterShape("b", ()))
    with pytest.raises(UsageError, match="two or more dimensions"):
        normalize(
            np.ones(4, np.float32),
            theta=np.ones(4, np.float32),
            layout=layout,
            normalization=normalization,
            moves=moves,
        )
