"""A folder of pictures: every pixel and label arrives, and a wrong layout is told in words."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tmrepro.data import load_dataset
from tmrepro.errors import DataError, UsageError

TRAIN = {"ant": 2, "bee": 5, "cat": 3}
TEST = {"ant": 1, "bee": 2, "cat": 4}


@pytest.fixture
def written(tmp_path, pictures):
    return pictures(tmp_path, train=TRAIN, test=TEST)


def test_every_picture_arrives_with_its_label_and_its_place(tmp_path, written, section):
    dataset = load_dataset(section("images", size=4), data_dir=tmp_path)
    assert dataset.classes == ("ant", "bee", "cat")
    assert dataset.source == "image folder, 3 classes"
    for name, part in (("train", dataset.train), ("test", dataset.validation)):
        paths = sorted(path for path in written if path.startswith(name))
        assert sorted(part.indices) == list(range(len(paths)))
        for image, label, index in zip(part.images, part.labels, part.indices, strict=True):
            np.testing.assert_array_equal(image, written[paths[index]].transpose(2, 0, 1))
            assert paths[index].split("/")[1] == dataset.classes[label]


def test_wide_pictures_are_cropped_and_not_squeezed(tmp_path, pictures, section):
    written = pictures(tmp_path, train={"a": 1, "b": 1}, test={"a": 1, "b": 1}, width=8, height=3)
    dataset = load_dataset(section("images", size=3), data_dir=tmp_path)
    first = dataset.train.images[dataset.train.indices.tolist().index(0)]
    np.testing.assert_array_equal(first, written["train/a/00.png"][:, 2:5].transpose(2, 0, 1))


def test_only_the_drawn_pictures_are_opened(tmp_path, written, section):
    asked = section("images", train=9, validation=6, size=4)
    before = load_dataset(asked, data_dir=tmp_path)
    paths = sorted(path for path in written if path.startswith("train"))
    (left_out,) = set(range(10)) - set(before.train.indices.tolist())
    (tmp_path / paths[left_out]).write_text("no picture")
    assert load_dataset(asked, data_dir=tmp_path).fingerprint == before.fingerprint
    (tmp_path / paths[before.train.indices[0]]).write_text("no picture")
    with pytest.raises(DataError, match=paths[before.train.indices[0]]):
        load_dataset(asked, data_dir=tmp_path)


@pytest.mark.usefixtures("written")
def test_progress_counts_every_picture_of_both_parts(tmp_path, section):
    calls = []
    load_dataset(
        section("images", train=4, validation=3, size=4), data_dir=tmp_path, on_image=lambda *call: calls.append(call)
    )
    assert calls == [(done, 7) for done in range(1, 8)]


@pytest.mark.usefixtures("written")
def test_oddities_of_a_picture_do_not_warn(tmp_path, section):
    palette = Image.new("P", (4, 4))
    palette.save(tmp_path / "train/ant/00.png", transparency=bytes([0, 128]))
    load_dataset(section("images", size=4), data_dir=tmp_path)


@pytest.mark.usefixtures("written")
def test_files_that_are_no_pictures_by_name_are_passed_over(tmp_path, section):
    (tmp_path / "train/ant/notes.txt").write_text("hello")
    assert len(load_dataset(section("images", size=4), data_dir=tmp_path).train.labels) == 10


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize(("field", "there"), [("train", 10), ("validation", 7)])
def test_more_pictures_than_there_are_says_how_many_there_are(tmp_path, section, field, there):
    with pytest.raises(
        UsageError, match=rf"data\.{field}: asks for 11 images, but .* has {there}; lower data\.{field}"
    ):
        load_dataset(section("images", **{field: 11}, size=4), data_dir=tmp_path)


@pytest.mark.usefixtures("written")
def test_a_missing_part_is_named_and_a_likely_name_noticed(tmp_path, section):
    (tmp_path / "test").rename(tmp_path / "val")
    with pytest.raises(DataError, match=r"test: no such folder; .*rename val/ to test/"):
        load_dataset(section("images", size=4), data_dir=tmp_path)


def test_a_file_instead_of_a_folder_is_refused(tmp_path, section):
    (tmp_path / "data.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"data\.zip: no such folder.*--data-dir"):
        load_dataset(section("images", size=4), data_dir=tmp_path / "data.zip")


def test_one_class_is_refused(tmp_path, pictures, section):
    pictures(tmp_path, train={"ant": 3}, test={"ant": 2})
    with pytest.raises(DataError, match="train: holds one class, ant; a classifier needs at least two"):
        load_dataset(section("images", size=4), data_dir=tmp_path)


def test_pictures_outside_class_folders_are_refused(tmp_path, section):
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / part / "a.png")
    with pytest.raises(DataError, match="train: holds no class folders"):
        load_dataset(section("images", size=4), data_dir=tmp_path)


@pytest.mark.usefixtures("written")
def test_a_class_without_pictures_is_named(tmp_path, section):
    (tmp_path / "train" / "dog").mkdir()
    (tmp_path / "train" / "dog" / "readme.txt").write_text("soon")
    with pytest.raises(DataError, match=r"train/dog: holds no images \(files ending in \.jpg"):
        load_dataset(section("images", size=4), data_dir=tmp_path)


def test_classes_must_agree_between_the_parts(tmp_path, pictures, section):
    pictures(tmp_path, train={"ant": 1, "bee": 1, "cat": 1}, test={"ant": 1, "bee": 1, "dog": 1})
    with pytest.raises(DataError, match=r"train: lacks dog, which .*test has"):
        load_dataset(section("images", size=4), data_dir=tmp_path)


@pytest.mark.usefixtures("written")
def test_a_class_name_that_cannot_be_shown_is_refused(tmp_path, section):
    for part in ("train", "test"):
        (tmp_path / part / "cat").rename(tmp_path / part / "c\nat")
    with pytest.raises(DataError, match="the name of a class must be printable"):
        load_dataset(section("images", size=4), data_dir=tmp_path)


@pytest.mark.parametrize(
    ("link", "target", "problem"),
    [
        ("train/ant/link.png", "outside/secret.png", "leads out of the data folder"),
        ("train/link", "outside", "leads out of the data folder"),
        ("test/ant/link.png", "data/gone.png", "leads nowhere"),
        ("test/ant/link.png", "data/test/ant/link.png", "leads nowhere|leads out"),
        ("train/ant/loop", "data/train", "leads to a folder"),
    ],
)
def test_links_out_of_the_folder_or_in_circles_are_refused(tmp_path, pictures, section, link, target, problem):
    pictures(tmp_path / "data", train=TRAIN, test=TEST)
    (tmp_path / "outside").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "outside" / "secret.png")
    (tmp_path / "data" / link).symlink_to(tmp_path / target)
    with pytest.raises(DataError, match=rf"{link}: this link ({problem})"):
        load_dataset(section("images", size=4), data_dir=tmp_path / "data")


def test_a_part_that_is_itself_a_link_out_is_refused(tmp_path, pictures, section):
    pictures(tmp_path / "data", train=TRAIN, test=TEST)
    (tmp_path / "data" / "test").rename(tmp_path / "test")
    (tmp_path / "data" / "test").symlink_to(tmp_path / "test")
    with pytest.raises(DataError, match="data/test: this link leads out"):
        load_dataset(section("images", size=4), data_dir=tmp_path / "data")


def test_a_link_to_the_data_folder_and_links_between_its_files_are_fine(tmp_path, pictures, section):
    pictures(tmp_path / "data", train=TRAIN, test=TEST)
    (tmp_path / "data/train/ant/99.png").symlink_to(Path(os.pardir, "bee", "00.png"))
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert len(load_dataset(section("images", size=4), data_dir=tmp_path / "link").train.labels) == 11
