"""The constants are exact, and scaling is one subtraction and one division in float32."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tmrepro.data import scaling as room
from tmrepro.data.scaling import channel_statistics, scale

PICTURES = npst.arrays(np.uint8, st.tuples(st.integers(1, 5), st.just(3), st.integers(1, 3), st.integers(1, 4)))


@given(images=PICTURES)
def test_statistics_are_those_of_exact_fractions(images):
    mean, deviation = channel_statistics(images)
    for channel in range(3):
        values = [int(value) for value in images[:, channel].reshape(-1)]
        exact_mean = Fraction(sum(values), len(values))
        exact_variance = sum((value - exact_mean) ** 2 for value in values) / len(values)
        assert mean[channel] == float(exact_mean)
        assert deviation[channel] == (math.sqrt(float(exact_variance)) or 1.0)


def test_statistics_do_not_depend_on_how_many_pictures_are_counted_at_once(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, size=(11, 3, 2, 5), dtype=np.uint8)
    whole = channel_statistics(images)
    monkeypatch.setattr(room, "_BLOCK_IMAGES", 3)
    assert channel_statistics(images) == whole


def test_a_constant_channel_is_shifted_and_not_divided():
    images = np.zeros((2, 3, 2, 3), dtype=np.uint8)
    images[:, 1] = 9
    mean, deviation = channel_statistics(images)
    assert (mean, deviation) == ((0.0, 9.0, 0.0), (1.0, 1.0, 1.0))
    scaled = scale(torch.from_numpy(images), scaling="standardize", mean=mean, deviation=deviation)
    assert torch.equal(scaled, torch.zeros(2, 3, 2, 3))


def test_standardized_pixels_are_numpys_to_the_bit():
    images = np.random.default_rng(1).integers(0, 256, size=(4, 3, 5, 7), dtype=np.uint8)
    mean, deviation = channel_statistics(images)
    scaled = scale(torch.from_numpy(images), scaling="standardize", mean=mean, deviation=deviation)
    column = (1, 3, 1, 1)
    expected = images.astype(np.float32) - np.array(mean, dtype=np.float32).reshape(column)
    expected /= np.array(deviation, dtype=np.float32).reshape(column)
    assert scaled.dtype == torch.float32
    np.testing.assert_array_equal(scaled.numpy(), expected)


def test_standardized_channels_have_mean_0_and_deviation_1():
    images = np.random.default_rng(2).integers(0, 256, size=(50, 3, 4, 6), dtype=np.uint8)
    mean, deviation = channel_statistics(images)
    scaled = scale(torch.from_numpy(images), scaling="standardize", mean=mean, deviation=deviation).double()
    # float32 has 24 bits, and the values are of order 1.
    torch.testing.assert_close(scaled.mean((0, 2, 3)), torch.zeros(3).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(scaled.std((0, 2, 3), correction=0), torch.ones(3).double(), rtol=0, atol=1e-6)


def test_unit_pixels_are_numpys_to_the_bit_and_end_at_0_and_1():
    images = np.arange(256 * 3, dtype=np.int64).astype(np.uint8).reshape(1, 3, 8, 32)
    scaled = scale(torch.from_numpy(images), scaling="unit", mean=(1.0, 2.0, 3.0), deviation=(4.0, 5.0, 6.0))
    np.testing.assert_array_equal(scaled.numpy(), images.astype(np.float32) / np.float32(255))
    assert (scaled.min(), scaled.max()) == (0, 1)


@pytest.mark.parametrize("scaling", ["standardize", "unit"])
def test_pixels_are_left_as_they_are(scaling):
    images = torch.arange(2 * 3 * 1 * 2, dtype=torch.uint8).reshape(2, 3, 1, 2)
    before = images.clone()
    scale(images, scaling=scaling, mean=(1.0, 2.0, 3.0), deviation=(1.0, 1.0, 1.0))
    assert torch.equal(images, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("scaling", ["standardize", "unit"])
def test_gpu_and_cpu_scale_to_the_same_bits(scaling):
    images = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(1, 3, 16, 16)
    constants = {"mean": (125.3, 123.0, 113.9), "deviation": (63.0, 62.1, 66.7)}
    on_gpu = scale(images.cuda(), scaling=scaling, **constants)
    assert torch.equal(on_gpu.cpu(), scale(images, scaling=scaling, **constants))
