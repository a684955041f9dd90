"""CIFAR-10 in its published file format, with small batches; the MD5 table is the only thing replaced."""

from __future__ import annotations

import hashlib
import pickle
import struct
import tarfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from tests.data.pictures import Section
from tmrepro.data import load_dataset
from tmrepro.errors import DataError, StorageError, UsageError

FOLDER = "cifar-10-batches-py"
BATCHES = ("data_batch_1", "data_batch_2", "test_batch")
NAMES = ["airplane", "automobile", "bird"]


def text(value: bytes | str) -> bytes:
    """A `str` as Python 2 pickled it: bytes without an encoding."""
    value = value.encode() if isinstance(value, str) else value
    return pickle.BINSTRING + struct.pack("<i", len(value)) + value


def whole(*values: int) -> bytes:
    return b"".join(pickle.BININT + struct.pack("<i", value) for value in values)


def batch(pixels: np.ndarray, labels: list[int]) -> bytes:
    """A batch as the published ones are: Python 2, protocol 2, an array [n, 3072] of a NumPy of 2009."""
    dtype = b"cnumpy\ndtype\n" + text("u1") + whole(0, 1) + pickle.TUPLE3 + pickle.REDUCE
    dtype += pickle.MARK + whole(3) + text("|") + pickle.NONE * 3 + whole(-1, -1, 0) + pickle.TUPLE + pickle.BUILD
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + whole(0) + pickle.TUPLE1 + text("b")
    array += pickle.TUPLE3 + pickle.REDUCE + pickle.MARK + whole(1) + whole(*pixels.shape) + pickle.TUPLE2
    array += dtype + pickle.NEWFALSE + text(pixels.tobytes()) + pickle.TUPLE + pickle.BUILD
    body = text("data") + array
    body += text("labels") + pickle.EMPTY_LIST + pickle.MARK + whole(*labels) + pickle.APPENDS
    return pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK + body + pickle.SETITEMS + pickle.STOP


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def meta() -> bytes:
    names = pickle.EMPTY_LIST + pickle.MARK + b"".join(text(name) for name in NAMES) + pickle.APPENDS
    body = text("label_names") + names
    return pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK + body + pickle.SETITEMS + pickle.STOP


@pytest.fixture
def images() -> dict[str, tuple[np.ndarray, list[int]]]:
    random = np.random.default_rng(11)
    counts = {"data_batch_1": 6, "data_batch_2": 3, "test_batch": 5}
    labels = {"data_batch_1": [0, 1, 2, 0, 1, 2], "data_batch_2": [2, 2, 0], "test_batch": [1, 0, 2, 2, 1]}
    return {
        name: (random.integers(0, 256, size=(count, 3, 32, 32), dtype=np.uint8), labels[name])
        for name, count in counts.items()
    }


@pytest.fixture
def published(tmp_path, images, monkeypatch) -> Path:
    """The folder that holds cifar-10-batches-py, and torchvision's MD5s those of its files."""
    root = tmp_path / "data"
    (root / FOLDER).mkdir(parents=True)
    files = {name: batch(pixels.reshape(-1, 3072), labels) for name, (pixels, labels) in images.items()}
    files["batches.meta"] = meta()
    for name, content in files.items():
        (root / FOLDER / name).write_bytes(content)
    sums = {name: md5(content) for name, content in files.items()}
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name in BATCHES[:2]])
    monkeypatch.setattr(CIFAR10, "test_list", [[name, sums[name]] for name in BATCHES[2:]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": sums["batches.meta"]})
    # No test may reach for the network, even by mistake.
    monkeypatch.setattr(CIFAR10, "url", (tmp_path / "nowhere.tar.gz").as_uri())
    return root


@pytest.fixture
def archive(published, tmp_path, monkeypatch) -> Path:
    """The same files as an archive elsewhere, whose MD5 torchvision knows; `published` is empty."""
    path = tmp_path / "remote" / CIFAR10.filename
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        tar.add(published / FOLDER, arcname=FOLDER)
    for file in (published / FOLDER).iterdir():
        file.unlink()
    (published / FOLDER).rmdir()
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(path.read_bytes()))
    return path


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def served(archive, monkeypatch, capsys) -> Iterator[Path]:
    """`archive`, offered by a web server of this very machine, whose address torchvision asks."""
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(archive.parent))) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/{archive.name}")
        yield archive
        server.shutdown()
        thread.join()
    # torchvision draws its own progress bar.
    capsys.readouterr()


def test_every_picture_arrives_with_its_label_and_its_place(published, images):
    dataset = load_dataset(Section("cifar10"), data_dir=published)
    assert dataset.classes == tuple(NAMES)
    for part, names in ((dataset.train, BATCHES[:2]), (dataset.validation, BATCHES[2:])):
        pixels = np.concatenate([images[name][0] for name in names])
        labels = [label for name in names for label in images[name][1]]
        assert sorted(part.indices) == list(range(len(labels)))
        np.testing.assert_array_equal(part.images, pixels[part.indices])
        np.testing.assert_array_equal(part.labels, np.array(labels)[part.indices])


def test_subsets_are_stratified(published):
    dataset = load_dataset(Section("cifar10", train=6, validation=3), data_dir=published)
    # Of nine images 3, 2 and 4 are of each class; of five 1, 2 and 2.
    assert np.bincount(dataset.train.labels).tolist() == [2, 1, 3]
    assert np.bincount(dataset.validation.labels).tolist() == [1, 1, 1]


def test_the_folder_of_the_batches_itself_may_be_named_too(published, monkeypatch):
    whole_set = load_dataset(Section("cifar10"), data_dir=published)
    assert load_dataset(Section("cifar10"), data_dir=published / FOLDER).fingerprint == whole_set.fingerprint
    monkeypatch.chdir(published / FOLDER)
    assert load_dataset(Section("cifar10"), data_dir=Path()).fingerprint == whole_set.fingerprint


def test_an_altered_file_is_named_with_both_sums_and_nothing_is_unpickled(published, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    altered = published / FOLDER / "data_batch_2"
    altered.write_bytes(pickle.dumps(Bomb()))
    found = md5(altered.read_bytes())
    expected = CIFAR10.train_list[1][1]
    with pytest.raises(DataError, match=rf"data_batch_2: .*expected {expected}, found {found}") as caught:
        load_dataset(Section("cifar10"), data_dir=published)
    assert "data_batch_1" not in str(caught.value)
    assert "run again with --download" in str(caught.value)
    assert not (tmp_path / "exploded").exists()
    pickle.loads(altered.read_bytes())  # noqa: S301  (the bomb would have gone off)
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", [*BATCHES, "batches.meta"])
def test_every_file_that_is_missing_or_cut_short_is_named(published, name):
    path = published / FOLDER / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match=rf"{name}: not the published file"):
        load_dataset(Section("cifar10"), data_dir=published)
    path.unlink()
    with pytest.raises(DataError, match=rf"{name}: missing"):
        load_dataset(Section("cifar10"), data_dir=published)


def test_files_of_the_right_names_alone_are_not_cifar10(tmp_path):
    (tmp_path / FOLDER).mkdir()
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch", "batches.meta"]
    for name in names:
        (tmp_path / FOLDER / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"data_batch_1: .*expected c99cafc152244af753f735de768cd75f") as caught:
        load_dataset(Section("cifar10"), data_dir=tmp_path)
    assert all(name in str(caught.value) for name in names)


def test_a_folder_without_cifar10_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=rf"(?s){FOLDER}: no such folder.*--data-dir.*--download"):
        load_dataset(Section("cifar10"), data_dir=tmp_path / "gone")
    (tmp_path / "cifar-10-batches-bin").mkdir()
    with pytest.raises(DataError, match="cifar-10-batches-bin is the version for C"):
        load_dataset(Section("cifar10"), data_dir=tmp_path)


def test_an_archive_that_is_not_unpacked_is_noticed(archive, published):
    archive.rename(published / archive.name)
    with pytest.raises(DataError, match="complete but not unpacked"):
        load_dataset(Section("cifar10"), data_dir=published)
    # The address leads nowhere now, so this one unpacks without a transfer.
    assert len(load_dataset(Section("cifar10"), data_dir=published, download=True).train.labels) == 9


def test_a_half_downloaded_archive_is_noticed(archive, published):
    (published / archive.name).write_bytes(archive.read_bytes()[:100])
    with pytest.raises(DataError, match=r"tar\.gz: not the published file.*half downloaded.*\n.*delete .*tar\.gz"):
        load_dataset(Section("cifar10"), data_dir=published)


@pytest.mark.usefixtures("served")
def test_download_fetches_what_is_missing_and_mends_what_is_damaged(published):
    fetched = load_dataset(Section("cifar10"), data_dir=published / "new", download=True)
    (published / "new" / FOLDER / "batches.meta").write_bytes(b"x")
    (published / "new" / CIFAR10.filename).write_bytes(b"half")
    mended = load_dataset(Section("cifar10"), data_dir=published / "new", download=True)
    assert mended.fingerprint == fetched.fingerprint
    assert mended.classes == tuple(NAMES)


def test_a_download_of_other_bytes_is_refused(served, published):
    served.write_bytes(served.read_bytes()[:100])
    with pytest.raises(DataError, match=r"cannot be downloaded \(File not found or corrupted"):
        load_dataset(Section("cifar10"), data_dir=published, download=True)
    assert not (published / FOLDER).exists()


def test_a_whole_set_is_not_downloaded_again(published):
    assert len(load_dataset(Section("cifar10"), data_dir=published, download=True).train.labels) == 9
    assert sorted(path.name for path in published.iterdir()) == [FOLDER]


@pytest.mark.usefixtures("published")
def test_a_download_that_fails_says_how_to_go_without(tmp_path):
    with pytest.raises(DataError, match=r"cannot be downloaded .*copy cifar-10-python\.tar\.gz into"):
        load_dataset(Section("cifar10"), data_dir=tmp_path / "empty", download=True)


@pytest.mark.usefixtures("served")
def test_a_download_to_a_place_that_cannot_be_written_is_no_matter_of_data(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written there"):
        load_dataset(Section("cifar10"), data_dir=tmp_path / "file", download=True)


def test_wrong_numbers_are_refused(published):
    with pytest.raises(UsageError, match=r"data\.train: asks for 10 images, but CIFAR-10's training set has 9"):
        load_dataset(Section("cifar10", train=10), data_dir=published)
    with pytest.raises(UsageError, match=r"data\.validation: asks for 6 images, but .*test set has 5"):
        load_dataset(Section("cifar10", validation=6), data_dir=published)
    with pytest.raises(UsageError, match=r"data\.size: CIFAR-10's images are 32 x 32 \(got 28\)"):
        load_dataset(Section("cifar10", size=28), data_dir=published)


@pytest.mark.parametrize("folder", ["", FOLDER])
def test_a_spec_of_pictures_takes_the_published_files_too(published, folder):
    found = load_dataset(Section("images", train=6, validation=4), data_dir=published / folder)
    assert found.fingerprint == load_dataset(Section("cifar10", train=6, validation=4), data_dir=published).fingerprint


def test_pictures_beside_the_published_files_come_first(published):
    (published / "train").mkdir()
    with pytest.raises(DataError, match="train: holds no class folders"):
        load_dataset(Section("images"), data_dir=published)
