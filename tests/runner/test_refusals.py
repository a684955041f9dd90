"""What people get wrong, through the command line: the right exit code, one clear message, nothing left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.specs import write_spec

TINY = """
version: 1
name: tiny
data: {name: digits, train: 60, validation: 20, size: 8}
models: [{name: dnn, kind: dnn, widths: [8, 10]}]
training: {batch_size: 20, max_epochs: 2}
surfaces: [{name: one, grid: {K: 3}}]
compute: {threads: 1}
"""


@pytest.fixture
def refused(start):
    """Runs a command that must fail with `code`; returns what it said."""

    def run(code: int, *arguments, env=None) -> str:
        command = start(*arguments, env=env)
        assert command.wait() == code, command.err
        said = command.out + command.err
        assert "Traceback" not in said
        assert "bug in tmrepro" not in said
        assert command.err.strip()
        return said

    return run


SPECS = {
    "empty": "",
    "comment": "# nothing\n",
    "list": "- version: 1\n",
    "tabs": TINY.replace("data: {", "data:\n\tname: digits\nx: {"),
    "twice": TINY + "name: again\n",
    "alias": "version: 1\nname: &n tiny\ndata: {name: digits}\nmodels: [{name: *n, kind: dnn}]\n",
    "K 1": TINY.replace("K: 3", "K: 1"),
    "K 0": TINY.replace("K: 3", "K: 0"),
    "K -3": TINY.replace("K: 3", "K: -3"),
    "K 10**9": TINY.replace("K: 3", "K: 1000000000"),
    "lr 0": TINY.replace("max_epochs: 2", "max_epochs: 2, optimizer: {name: adam, lr: 0}"),
    "lr nan": TINY.replace("max_epochs: 2", "max_epochs: 2, optimizer: {name: adam, lr: .nan}"),
    "step 0": TINY.replace("K: 3", "K: 3, step: 0"),
    "two of a name": TINY.replace("10]}]", "10]}, {name: dnn, kind: cnn}]"),
    "../": TINY.replace("name: dnn", "name: ../dnn"),
    "too many images": TINY.replace("train: 60", "train: 5000"),
}


@pytest.mark.parametrize("name", SPECS)
def test_wrong_spec_is_refused_with_its_line(refused, tmp_path, name):
    spec = write_spec(tmp_path, SPECS[name])
    said = refused(2, "run", spec, "--out", tmp_path / "run")
    assert f"{spec}:" in said
    assert not (tmp_path / "run").exists()
    assert f"{spec}:" in refused(2, "spec", "check", spec)


def test_spec_that_is_not_there_or_a_folder(refused, tmp_path):
    assert "cannot be read" in refused(2, "run", tmp_path / "nothing.yaml")
    assert "cannot be read" in refused(2, "run", tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--device", "foo"], "choose auto, cpu or cuda"),
        (["--workers", "0"], "--workers"),
        (["--workers", "many"], "--workers"),
        (["--wrokers", "2"], "No such option"),
        (["--evaluator", "quick"], "there is no evaluator 'quick': choose one of "),
    ],
)
def test_wrong_option(refused, tmp_path, options, words):
    assert words in refused(2, "run", write_spec(tmp_path, TINY), "--out", tmp_path / "run", *options)
    assert not (tmp_path / "run").exists()


def test_cuda_where_there_is_none(refused, tmp_path):
    said = refused(
        2,
        "run",
        write_spec(tmp_path, TINY),
        "--out",
        tmp_path / "run",
        "--device",
        "cuda",
        env={"CUDA_VISIBLE_DEVICES": ""},
    )
    assert "--device cpu" in said
    assert not (tmp_path / "run").exists()


def test_checkpoint_variable_that_is_no_number(refused, tmp_path):
    said = refused(
        2, "run", write_spec(tmp_path, TINY), "--out", tmp_path / "run", env={"TMREPRO_CHECKPOINT_SECONDS": "often"}
    )
    assert "TMREPRO_CHECKPOINT_SECONDS=often" in said


def test_reusing_a_folder_that_is_no_run(refused, tmp_path):
    (tmp_path / "donor").mkdir()
    said = refused(3, "run", write_spec(tmp_path, TINY), "--out", tmp_path / "run", "--reuse", tmp_path / "donor")
    assert "no run with stages to reuse" in said
    assert not (tmp_path / "run").exists()


# The output folder


def test_output_that_is_a_file(refused, tmp_path):
    (tmp_path / "run").write_text("mine")
    assert "is a file; choose a folder with --out" in refused(
        2, "run", write_spec(tmp_path, TINY), "--out", tmp_path / "run"
    )
    assert (tmp_path / "run").read_text() == "mine"
    refused(4, "run", write_spec(tmp_path, TINY), "--out", tmp_path / "run" / "inside")


@pytest.fixture
def mounted(tmp_path):
    """A small file system of its own."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(*options: str) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)], capture_output=True
        )
        if done.returncode != 0:
            pytest.skip(f"needs to mount a file system, which only root may: {done.stderr.decode()}")
        return folder

    yield mount
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)


def test_output_on_a_read_only_file_system(refused, mounted, tmp_path):
    said = refused(4, "run", write_spec(tmp_path, TINY), "--out", mounted("ro", "size=1m") / "run")
    assert "read-only" in said
    assert "choose another --out" in said


def test_full_disk_is_named_and_the_run_continues_once_there_is_space(refused, start, mounted, tmp_path):
    folder = mounted("size=200k")
    said = refused(4, "run", write_spec(tmp_path, TINY), "--out", folder / "run")
    assert "the disk is full" in said
    assert "the same command continues" in said
    subprocess.run(["mount", "-o", "remount,size=20m", str(folder)], check=True)
    continued = start("run", write_spec(tmp_path, TINY), "--out", folder / "run")
    assert continued.wait() == 0, continued.err
    assert "training/dnn: done" in continued.err
    subprocess.run(["sha256sum", "--quiet", "-c", "manifest-sha256.txt"], cwd=folder / "run", check=True)


def test_folder_without_permission():
    """As somebody who is not root: for root there is no such folder."""
    if os.getuid() != 0:
        pytest.skip("needs to become another user, which only root may")
    code = (
        "import os, sys\n"
        "from pathlib import Path; from tmrepro.errors import StorageError; from tmrepro.store.lock import run_lock\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try:\n    run_lock(Path(sys.argv[1])).__enter__()\nexcept StorageError as error:\n    print(error)"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        found = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True)
    assert "permission denied; make the folder writable or choose another --out" in found.stdout, found.stderr


# Data


def picture(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, dtype=np.uint8)).save(path)


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    for part, count in (("train", 4), ("test", 2)):
        for index in range(count):
            for shift, name in enumerate(("cat", "dog")):
                picture(folder / part / name / f"{index}.png", 20 * index + 100 * shift)
    return folder


IMAGES = """
version: 1
name: pictures
data: {name: images, train: 8, validation: 4, size: 8}
models: [{name: dnn, kind: dnn, widths: [4, 2]}]
training: {batch_size: 4, warmup_steps: 0, max_epochs: 30}
surfaces: [{name: one, grid: {K: 2}}]
compute: {threads: 1}
"""


def one_class(folder: Path) -> None:
    for part in ("train", "test"):
        shutil.rmtree(folder / part / "dog")


def text_named_jpg(folder: Path) -> None:
    (folder / "train/cat/notes.jpg").write_text("no picture")


def no_images(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        path.unlink()


def nothing(folder: Path) -> None:
    shutil.rmtree(folder)


def a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


@pytest.mark.parametrize("spoil", [one_class, text_named_jpg, no_images, nothing, a_file])
def test_spoilt_image_folder_is_named(refused, images, tmp_path, spoil):
    spoil(images)
    said = refused(3, "run", write_spec(tmp_path, IMAGES), "--out", tmp_path / "run", "--data-dir", images)
    assert str(images) in said
    assert not (tmp_path / "run").exists()


def test_more_images_than_the_folder_has(refused, images, tmp_path):
    said = refused(
        2,
        "run",
        write_spec(tmp_path, IMAGES.replace("train: 8", "train: 9")),
        "--out",
        tmp_path / "run",
        "--data-dir",
        images,
    )
    assert "8" in said
    assert "9" in said
    assert not (tmp_path / "run").exists()


def test_network_that_does_not_fit_the_classes_leaves_no_folder_that_would_refuse_the_right_one(
    refused, start, images, tmp_path
):
    run = tmp_path / "run"
    said = refused(
        2, "run", write_spec(tmp_path, IMAGES.replace("[4, 2]", "[4, 3]")), "--out", run, "--data-dir", images
    )
    assert "expected [2, 2]" in said
    corrected = start(
        "run", write_spec(tmp_path, IMAGES), "--out", run, "--data-dir", images, blow=("_replace .*/theta", 1, 9)
    )
    assert corrected.wait() == -9


def test_data_folder_comes_from_the_option_or_the_environment(start, refused, images, tmp_path):
    assert "TMREPRO_DATA" in refused(3, "run", write_spec(tmp_path, IMAGES), "--out", tmp_path / "run")
    found = start("run", write_spec(tmp_path, IMAGES), "--out", tmp_path / "run", env={"TMREPRO_DATA": str(images)})
    assert found.wait() == 0, found.err
    other = refused(
        3,
        "run",
        write_spec(tmp_path, IMAGES),
        "--out",
        tmp_path / "other",
        "--data-dir",
        tmp_path / "none",
        env={"TMREPRO_DATA": str(images)},
    )
    assert str(tmp_path / "none") in other


def test_finished_run_needs_no_data_but_looks_at_what_it_is_given(start, refused, images, tmp_path):
    spec, run = write_spec(tmp_path, IMAGES), tmp_path / "run"
    first = start("run", spec, "--out", run, "--data-dir", images)
    assert first.wait() == 0, first.err
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    again = start("run", spec, "--out", run, "--data-dir", images)
    assert again.wait() == 0, again.err
    assert "not checked" not in again.err
    assert "nothing to do" in again.out
    without = start("run", spec, "--out", run)
    assert without.wait() == 0, without.err
    assert "note: the data were not checked: give their folder with --data-dir or TMREPRO_DATA" in without.err
    assert "nothing to do" in without.out
    picture(images / "train/cat/0.png", 77)
    for given in (["--data-dir", images], []):
        environment = None if given else {"TMREPRO_DATA": str(images)}
        said = refused(2, "run", spec, "--out", run, *given, env=environment)
        assert "holds a finished run on other data (data.fingerprint: " in said
        assert "choose another --out; with --reuse" in said
    shutil.rmtree(images)
    assert f"{images}: no such folder" in refused(3, "run", spec, "--out", run, "--data-dir", images).replace("\n", "")
    download = start("run", spec, "--out", run, "--data-dir", images, "--download")
    assert download.wait() == 0, download.err
    assert "for a finished run they are not downloaded" in download.err
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_damage_of_a_finished_run_is_not_made_good_with_other_data(start, refused, images, tmp_path):
    spec, run = write_spec(tmp_path, IMAGES), tmp_path / "run"
    assert start("run", spec, "--out", run, "--data-dir", images).wait() == 0
    (run / "statistics.json").unlink()
    picture(images / "train/cat/0.png", 77)
    assert "on other data" in refused(2, "run", spec, "--out", run, "--data-dir", images)
    assert not (run / ".work").exists()
    picture(images / "train/cat/0.png", 0)
    assert start("run", spec, "--out", run, "--data-dir", images).wait() == 0


def test_images_that_were_changed_are_noticed_where_a_run_goes_on(start, images, tmp_path):
    arguments = ("run", write_spec(tmp_path, IMAGES), "--out", tmp_path / "run", "--data-dir", images)
    assert start(*arguments, blow=(r"_replace .*/statistics.json", 1, 9)).wait() == -9
    picture(images / "train/cat/0.png", 77)
    again = start(*arguments, blow=(r"_replace .*/history", 1, 9))
    assert again.wait() == -9
    assert "training/dnn: runs (inputs changed: data.fingerprint:" in again.err
