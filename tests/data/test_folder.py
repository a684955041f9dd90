"""A folder of pictures: every pixel and label arrives, and a wrong layout is told in words."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from torchvision.datasets import ImageFolder

from tests.data.pictures import Section, write_pictures
from tmrepro.data import load_dataset
from tmrepro.data.listing import listed
from tmrepro.errors import DataError, UsageError

TRAIN = {"ant": 2, "bee": 5, "cat": 3}
TEST = {"ant": 1, "bee": 2, "cat": 4}


@pytest.fixture
def written(tmp_path):
    return write_pictures(tmp_path, train=TRAIN, test=TEST)


def test_every_picture_arrives_with_its_label_and_its_place(tmp_path, written):
    dataset = load_dataset(Section("images", size=4), data_dir=tmp_path)
    assert dataset.classes == ("ant", "bee", "cat")
    assert dataset.source == "image folder, 3 classes"
    for name, part in (("train", dataset.train), ("test", dataset.validation)):
        paths = sorted(path for path in written if path.startswith(name))
        assert sorted(part.indices) == list(range(len(paths)))
        for image, label, index in zip(part.images, part.labels, part.indices, strict=True):
            np.testing.assert_array_equal(image, written[paths[index]].transpose(2, 0, 1))
            assert paths[index].split("/")[1] == dataset.classes[label]


def test_wide_pictures_are_cropped_and_not_squeezed(tmp_path):
    written = write_pictures(tmp_path, train={"a": 1, "b": 1}, test={"a": 1, "b": 1}, width=8, height=3)
    dataset = load_dataset(Section("images", size=3), data_dir=tmp_path)
    first = dataset.train.images[dataset.train.indices.tolist().index(0)]
    np.testing.assert_array_equal(first, written["train/a/00.png"][:, 2:5].transpose(2, 0, 1))


def test_only_the_drawn_pictures_are_opened(tmp_path, written):
    asked = Section("images", train=9, validation=6, size=4)
    before = load_dataset(asked, data_dir=tmp_path)
    paths = sorted(path for path in written if path.startswith("train"))
    (left_out,) = set(range(10)) - set(before.train.indices.tolist())
    (tmp_path / paths[left_out]).write_text("no picture")
    assert load_dataset(asked, data_dir=tmp_path).fingerprint == before.fingerprint
    (tmp_path / paths[before.train.indices[0]]).write_text("no picture")
    with pytest.raises(DataError, match=paths[before.train.indices[0]]):
        load_dataset(asked, data_dir=tmp_path)


@pytest.mark.usefixtures("written")
def test_progress_counts_every_picture_of_both_parts(tmp_path):
    calls = []
    load_dataset(
        Section("images", train=4, validation=3, size=4), data_dir=tmp_path, on_image=lambda *call: calls.append(call)
    )
    assert calls == [(done, 7) for done in range(1, 8)]


@pytest.mark.usefixtures("written")
def test_oddities_of_a_picture_do_not_warn(tmp_path):
    palette = Image.new("P", (4, 4))
    palette.save(tmp_path / "train/ant/00.png", transparency=bytes([0, 128]))
    load_dataset(Section("images", size=4), data_dir=tmp_path)


@pytest.mark.usefixtures("written")
def test_files_that_are_no_pictures_are_left_out_and_named(tmp_path):
    before = load_dataset(Section("images", size=4), data_dir=tmp_path)
    assert before.notes == ()
    (tmp_path / "train/ant/notes.txt").write_text("hello")
    (tmp_path / "train/labels.csv").write_text("BMP, P5 and II* are no pictures here")
    (tmp_path / "test/cat/deep").mkdir()
    (tmp_path / "test/cat/deep/README\n").write_text("")
    after = load_dataset(Section("images", size=4), data_dir=tmp_path)
    assert after.fingerprint == before.fingerprint
    assert after.notes == (
        "3 files that are no pictures are left out: train/labels.csv, train/ant/notes.txt, 'test/cat/deep/README\\n'",
    )


@pytest.mark.usefixtures("written")
def test_many_files_that_are_no_pictures_are_counted(tmp_path):
    for number in range(12):
        (tmp_path / f"train/bee/{number:02d}.txt").write_text("")
    (note,) = load_dataset(Section("images", size=4), data_dir=tmp_path).notes
    assert note.startswith("12 files that are no pictures are left out: train/bee/00.txt, ")
    assert note.endswith("train/bee/09.txt and 2 more")


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize("litter", [".ipynb_checkpoints", ".git", "__MACOSX", "@eaDir", "$RECYCLE.BIN"])
def test_hidden_folders_and_litter_are_neither_classes_nor_pictures(tmp_path, litter):
    before = load_dataset(Section("images", size=4), data_dir=tmp_path)
    for folder in ("train", "test/ant", "train/bee"):
        (tmp_path / folder / litter).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / folder / litter / "00.png")
        (tmp_path / folder / litter / "link").symlink_to("/")
    for name in (".DS_Store", "._00.png", ".hidden.jpg", "Thumbs.db", "desktop.ini"):
        (tmp_path / "train/cat" / name).write_bytes(b"\x00\x05\x16\x07")
        (tmp_path / "test" / name).write_bytes(b"\xff\xd8\xff")
    after = load_dataset(Section("images", size=4), data_dir=tmp_path)
    assert (after.classes, after.fingerprint, after.notes) == (before.classes, before.fingerprint, ())


@pytest.mark.usefixtures("written")
def test_every_picture_is_read_however_its_name_ends(tmp_path):
    """Names that torchvision passes over, upper case, and one stem twice."""
    formats = {
        "jfif": "JPEG",
        "JPE": "JPEG",
        "gif": "GIF",
        "PNG": "PNG",
        "apng": "PNG",
        "dib": "BMP",
        "Pnm": "PPM",
        "pbm": "PPM",
    }
    if features.check("avif"):
        formats["avif"] = "AVIF"
    for suffix, kind in formats.items():
        Image.new("1" if suffix == "pbm" else "RGB", (4, 4)).save(tmp_path / f"train/ant/00.{suffix}", format=kind)
    dataset = load_dataset(Section("images", size=4), data_dir=tmp_path)
    assert len(dataset.train.labels) == 10 + len(formats)
    assert np.bincount(dataset.train.labels)[0] == 2 + len(formats)
    assert dataset.notes == ()


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize("name", ["a.heic", "a.JP2", "a.psd", "a.svg", "a.tga", "a.jxl"])
def test_a_picture_that_cannot_be_read_is_refused_and_not_dropped(tmp_path, name):
    (tmp_path / "test/bee" / name).write_bytes(b"")
    with pytest.raises(DataError, match=rf"test/bee/{name}: a picture of a kind that is not read .*\.jfif.*convert"):
        load_dataset(Section("images", size=4), data_dir=tmp_path)


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM"])
def test_a_picture_under_another_name_is_refused_and_not_dropped(tmp_path, kind):
    Image.new("RGB", (4, 4)).save(tmp_path / "train/bee/picture", format=kind)
    with pytest.raises(DataError, match=r"train/bee/picture: a picture of a kind .*rename"):
        load_dataset(Section("images", size=4), data_dir=tmp_path)


@pytest.mark.usefixtures("written")
def test_a_picture_beside_the_class_folders_is_refused_and_not_dropped(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "train/montage.png")
    with pytest.raises(DataError, match=r"train/montage\.png: a picture outside the class folders"):
        load_dataset(Section("images", size=4), data_dir=tmp_path)


@pytest.mark.usefixtures("written")
def test_pipes_that_are_no_pictures_by_name_are_left_unopened(tmp_path):
    os.mkfifo(tmp_path / "train/ant/pipe")
    assert "train/ant/pipe" in load_dataset(Section("images", size=4), data_dir=tmp_path).notes[0]


def test_pictures_are_in_the_order_of_torchvisions_image_folder(tmp_path):
    write_pictures(tmp_path, train={"a": 2, "B": 1, "a-b": 1, "ä": 1}, test={})
    for name in ("a/sub/1.png", "a/sub-2/0.png", "a/Sub/9.jpg", "a/10.BMP", "a/sub/deeper/2.png"):
        path = tmp_path / "train" / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    found, expected = listed(tmp_path / "train", root=tmp_path), ImageFolder(tmp_path / "train")
    assert list(found.classes) == expected.classes
    assert [(str(path), label) for path, label in zip(found.files, found.labels, strict=True)] == expected.samples


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize(("field", "there"), [("train", 10), ("validation", 7)])
def test_more_pictures_than_there_are_says_how_many_there_are(tmp_path, field, there):
    with pytest.raises(
        UsageError, match=rf"data\.{field}: asks for 11 images, but .* has {there}; lower data\.{field}"
    ):
        load_dataset(Section("images", **{field: 11}, size=4), data_dir=tmp_path)


@pytest.mark.usefixtures("written")
def test_a_missing_part_is_named_and_a_likely_name_noticed(tmp_path):
    (tmp_path / "test").rename(tmp_path / "val")
    with pytest.raises(DataError, match=r"test: no such folder; .*rename val/ to test/"):
        load_dataset(Section("images", size=4), data_dir=tmp_path)


def test_a_file_instead_of_a_folder_is_refused(tmp_path):
    (tmp_path / "data.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"data\.zip: no such folder.*--data-dir"):
        load_dataset(Section("images", size=4), data_dir=tmp_path / "data.zip")


def test_one_class_is_refused(tmp_path):
    write_pictures(tmp_path, train={"ant": 3}, test={"ant": 2})
    with pytest.raises(DataError, match="train: holds one class, ant; a classifier needs at least two"):
        load_dataset(Section("images", size=4), data_dir=tmp_path)


def test_pictures_outside_class_folders_are_refused(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / part / "a.png")
    with pytest.raises(DataError, match="train: holds no class folders"):
        load_dataset(Section("images", size=4), data_dir=tmp_path)


@pytest.mark.usefixtures("written")
def test_a_class_without_pictures_is_named(tmp_path):
    (tmp_path / "train" / "dog").mkdir()
    (tmp_path / "train" / "dog" / "readme.txt").write_text("soon")
    with pytest.raises(DataError, match=r"train/dog: holds no images \(files ending in .*\.jpg"):
        load_dataset(Section("images", size=4), data_dir=tmp_path)


def test_classes_must_agree_between_the_parts(tmp_path):
    write_pictures(tmp_path, train={"ant": 1, "bee": 1, "cat": 1}, test={"ant": 1, "bee": 1, "dog": 1})
    with pytest.raises(DataError, match=r"train: lacks dog, which .*test has"):
        load_dataset(Section("images", size=4), data_dir=tmp_path)


@pytest.mark.usefixtures("written")
def test_a_class_name_that_cannot_be_shown_is_refused(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part / "cat").rename(tmp_path / part / "c\nat")
    with pytest.raises(DataError, match="the name of a class must be printable"):
        load_dataset(Section("images", size=4), data_dir=tmp_path)


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
def test_links_out_of_the_folder_or_in_circles_are_refused(tmp_path, link, target, problem):
    write_pictures(tmp_path / "data", train=TRAIN, test=TEST)
    (tmp_path / "outside").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "outside" / "secret.png")
    (tmp_path / "data" / link).symlink_to(tmp_path / target)
    with pytest.raises(DataError, match=rf"{link}: this link ({problem})"):
        load_dataset(Section("images", size=4), data_dir=tmp_path / "data")


def test_a_part_that_is_itself_a_link_out_is_refused(tmp_path):
    write_pictures(tmp_path / "data", train=TRAIN, test=TEST)
    (tmp_path / "data" / "test").rename(tmp_path / "test")
    (tmp_path / "data" / "test").symlink_to(tmp_path / "test")
    with pytest.raises(DataError, match="data/test: this link leads out"):
        load_dataset(Section("images", size=4), data_dir=tmp_path / "data")


def test_a_link_to_the_data_folder_and_links_between_its_files_are_fine(tmp_path):
    write_pictures(tmp_path / "data", train=TRAIN, test=TEST)
    (tmp_path / "data/train/ant/99.png").symlink_to(Path(os.pardir, "bee", "00.png"))
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert len(load_dataset(Section("images", size=4), data_dir=tmp_path / "link").train.labels) == 11
