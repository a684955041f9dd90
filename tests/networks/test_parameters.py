"""Theta as a vector: the order and shapes that a third party sees in `named_parameters`, and a norm without BLAS."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tmrepro.networks.parameters import layout_of, norm_of, split_theta, theta_of


def tangled() -> nn.Module:
    """Parameters of 0 to 4 dimensions, one of them tied, one not contiguous, and buffers, which are not theta."""
    model = nn.Module()
    model.convolution = nn.Conv2d(2, 3, (4, 5))
    model.norm = nn.BatchNorm2d(3)
    model.scale = nn.Parameter(torch.tensor(2.5))
    model.turned = nn.Parameter(torch.arange(6.0).reshape(2, 3).t())
    model.tied = model.convolution.weight
    return model


def test_layout_has_names_and_shapes_in_the_order_of_named_parameters() -> None:
    layout = layout_of(tangled())
    found = [(parameter.name, parameter.shape, parameter.size) for parameter in layout]
    # A module's own parameters come before its children's; the tied one counts once, under its first name.
    assert found == [
        ("scale", (), 1),
        ("turned", (3, 2), 6),
        ("tied", (3, 2, 4, 5), 120),
        ("convolution.bias", (3,), 3),
        ("norm.weight", (3,), 3),
        ("norm.bias", (3,), 3),
    ]


def test_theta_is_every_parameter_in_c_order_and_no_buffer() -> None:
    model = tangled()
    expected = np.concatenate([value.detach().numpy().flatten(order="C") for _, value in model.named_parameters()])
    assert theta_of(model).tobytes() == expected.astype("<f4").tobytes()
    turned = split_theta(theta_of(model), layout=layout_of(model))["turned"]
    assert turned.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_theta_is_a_copy() -> None:
    model = nn.Linear(2, 1)
    theta = theta_of(model)
    before = theta.copy()
    with torch.no_grad():
        model.weight.add_(1)
        model.bias.add_(1)
    assert np.array_equal(theta, before)


def test_splitting_gives_views_that_cover_the_vector() -> None:
    layout = layout_of(tangled())
    vector = np.arange(sum(parameter.size for parameter in layout), dtype=np.float32)
    parts = split_theta(vector, layout=layout)
    assert list(parts) == [parameter.name for parameter in layout]
    assert np.concatenate([part.ravel() for part in parts.values()]).tolist() == vector.tolist()
    for part in parts.values():
        part[...] = -1
    assert (vector == -1).all()


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=50))
def test_norm_is_the_root_of_the_exact_sum_of_squares(values: list[float]) -> None:
    exact = math.sqrt(math.fsum(value * value for value in values))
    assert norm_of(np.array(values, dtype=np.float32)) == pytest.approx(exact, rel=1e-14, abs=0)


def test_norm_does_not_overflow_where_float32_would() -> None:
    assert norm_of(np.full(4, 1e30, dtype=np.float32)) == pytest.approx(2e30, rel=1e-6)
