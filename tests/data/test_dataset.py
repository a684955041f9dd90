"""The fingerprint is SHA-256 of the documented bytes; `load_dataset` finds its folder or says what to do."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest

from tests.data.pictures import Section, write_pictures
from tmrepro.data import DATA_DIR_VARIABLE, Part, fingerprint, load_dataset
from tmrepro.errors import DataError


@pytest.fixture
def part() -> Part:
    images = np.random.default_rng(3).integers(0, 256, size=(4, 3, 2, 5), dtype=np.uint8)
    return Part(images=images, labels=np.array([2, 0, 1, 1]), indices=np.arange(4))


@pytest.fixture
def other(part) -> Part:
    return Part(images=part.images[:3] ^ 255, labels=np.array([0, 1, 2]), indices=np.arange(3))


def test_fingerprint_is_that_of_the_documented_bytes(part, other):
    written = b"tmrepro dataset 1\n"
    for each in (part, other):
        written += struct.pack("<4q", *each.images.shape)
        written += bytes(int(pixel) for pixel in each.images.reshape(-1))
        written += struct.pack(f"<{len(each.labels)}q", *each.labels)
    assert fingerprint(part, other) == hashlib.sha256(written).hexdigest()


def test_fingerprint_changes_with_one_pixel_one_label_the_order_the_shape_and_the_part(part, other):
    pixel = part.images.copy()
    pixel[3, 2, 1, 4] ^= 1
    label = part.labels.copy()
    label[0] = 1
    order = [1, 0, 2, 3]
    prints = [
        fingerprint(part, other),
        fingerprint(other, part),
        fingerprint(replace(part, images=pixel), other),
        fingerprint(replace(part, labels=label), other),
        fingerprint(replace(part, images=part.images[order], labels=part.labels[order]), other),
        fingerprint(replace(part, images=part.images.reshape(4, 3, 5, 2)), other),
    ]
    assert len(set(prints)) == len(prints)


def test_fingerprint_does_not_depend_on_memory_layout_or_origin(part, other):
    fortran = replace(part, images=np.asfortranarray(part.images), indices=part.indices + 100)
    assert fingerprint(fortran, other) == fingerprint(part, other)


def test_constants_are_those_of_the_training_part_alone(tmp_path):
    written = write_pictures(tmp_path, train={"cat": 3, "dog": 2}, test={"cat": 2, "dog": 2})
    dataset = load_dataset(Section("images", size=4), data_dir=tmp_path)
    pixels = np.stack([pixels for path, pixels in written.items() if path.startswith("train")]).astype(np.float64)
    # Sums of 80 values in float64, in NumPy's order.
    np.testing.assert_allclose(dataset.mean, pixels.mean((0, 1, 2)), rtol=1e-13)
    np.testing.assert_allclose(dataset.deviation, pixels.std((0, 1, 2)), rtol=1e-13)
    assert dataset.fingerprint == fingerprint(dataset.train, dataset.validation)


def test_the_environment_names_the_folder_where_the_argument_does_not(tmp_path, monkeypatch):
    write_pictures(tmp_path / "here", train={"cat": 1, "dog": 1}, test={"cat": 1, "dog": 1})
    monkeypatch.setenv(DATA_DIR_VARIABLE, str(tmp_path / "here"))
    assert len(load_dataset(Section("images", size=4)).train.labels) == 2
    with pytest.raises(DataError, match="elsewhere: no such folder"):
        load_dataset(Section("images", size=4), data_dir=tmp_path / "elsewhere")


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize(("name", "remedy"), [("cifar10", "--download"), ("images", "train/CLASS")])
def test_no_folder_at_all_says_how_to_name_one(monkeypatch, name, remedy, value):
    monkeypatch.delenv(DATA_DIR_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(DATA_DIR_VARIABLE, value)
    with pytest.raises(DataError, match=rf"(?s){name}.*--data-dir DIR.*TMREPRO_DATA=DIR.*{remedy}"):
        load_dataset(Section(name))


@pytest.mark.parametrize("name", ["cifar10", "images"])
def test_what_the_file_system_refuses_is_told_as_an_error_of_the_data(tmp_path, name):
    with pytest.raises(DataError, match=r"x{300}.*: (cannot be read|no such folder)"):
        load_dataset(Section(name), data_dir=tmp_path / ("x" * 300))
