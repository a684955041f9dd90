"""The digits: scaled to bytes, brought to size, drawn as two disjoint stratified parts."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.data.pictures import Section
from tmrepro.data import load_dataset
from tmrepro.errors import UsageError


@pytest.fixture(scope="module")
def source():
    return load_digits()


def test_pixels_and_labels_are_scikit_learns(source):
    dataset = load_dataset(Section("digits", train=30, validation=20, size=8))
    for part in (dataset.train, dataset.validation):
        assert part.images.dtype == np.uint8
        assert part.labels.dtype == np.int64
        for image, label, index in zip(part.images, part.labels, part.indices, strict=True):
            assert label == source.target[index]
            for channel in image:
                # 255 / 16 a step, so half a unit of rounding is far less than a step.
                np.testing.assert_allclose(channel, source.images[index] * 15.9375, rtol=0, atol=0.5)
    assert dataset.classes == tuple("0123456789")


def test_another_size_is_pillows_bilinear_filter(source):
    dataset = load_dataset(Section("digits", train=10, validation=10, size=12))
    assert dataset.train.images.shape == (10, 3, 12, 12)
    index = dataset.train.indices[0]
    grey = Image.fromarray(np.rint(source.images[index] * 255 / 16).astype(np.uint8))
    expected = np.asarray(grey.resize((12, 12), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(dataset.train.images[0], [expected] * 3)


def test_parts_are_disjoint_and_stratified(source):
    dataset = load_dataset(Section("digits", train=1024, validation=256, size=8, seed=3))
    train, validation = dataset.train, dataset.validation
    assert len(set(train.indices) | set(validation.indices)) == 1280
    share = np.bincount(source.target) / 1797
    assert np.all(np.abs(np.bincount(train.labels) - 1024 * share) < 1)
    # What the training part leaves has those shares to within one image of each class.
    assert np.all(np.abs(np.bincount(validation.labels) - 256 * share) < 2)


def test_the_same_seed_gives_the_same_pictures_and_another_seed_others():
    prints = [load_dataset(Section("digits", train=20, validation=10, size=8, seed=s)).fingerprint for s in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]


def test_a_part_without_a_number_gets_what_the_other_leaves():
    dataset = load_dataset(Section("digits", train=None, validation=797, size=8))
    assert len(dataset.train.labels) == 1000
    dataset = load_dataset(Section("digits", train=1700, validation=None, size=8))
    assert len(dataset.validation.labels) == 97


@pytest.mark.parametrize(
    ("train", "validation"), [(1797, 1), (1000, 798), (0, 5), (5, 0), (-3, 5), (None, 1797), (9999, None)]
)
def test_more_digits_than_there_are_is_refused(train, validation):
    with pytest.raises(UsageError, match=r"data\.train and data\.validation: .* 1797 digits"):
        load_dataset(Section("digits", train=train, validation=validation))


def test_digits_without_any_number_are_refused():
    with pytest.raises(UsageError, match="at least one of the two needs a number"):
        load_dataset(Section("digits"))
