"""`data.folder` of a spec: relative to the spec file, after --data-dir and TMREPRO_DATA."""

from __future__ import annotations

from pathlib import Path

import pytest

import tmrepro
from tests.data.pictures import write_pictures
from tmrepro.data import DATA_DIR_VARIABLE, is_at_hand, load_dataset, place_of
from tmrepro.errors import SpecError
from tmrepro.spec import DataSpec, parse_spec


@pytest.mark.parametrize("name", ["cifar10", "images"])
def test_the_option_comes_first_then_the_variable_then_the_spec(monkeypatch, tmp_path, name):
    monkeypatch.delenv(DATA_DIR_VARIABLE, raising=False)
    data = DataSpec(name=name, folder="pictures")
    assert place_of(data, data_dir=None, home=tmp_path) == tmp_path / "pictures"
    assert place_of(data, data_dir=None, home=None) == Path("pictures")
    assert place_of(data, data_dir=Path("given"), home=tmp_path) == Path("given")
    monkeypatch.setenv(DATA_DIR_VARIABLE, "/variable")
    assert place_of(data, data_dir=None, home=tmp_path) is None  # who loads them looks at the variable
    assert is_at_hand(data, data_dir=None)


def test_a_folder_that_is_absolute_or_below_home_stays_it(monkeypatch, tmp_path):
    monkeypatch.delenv(DATA_DIR_VARIABLE, raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    for folder, expected in (("/data", "/data"), ("~/data", "/home/somebody/data")):
        assert place_of(DataSpec(name="images", folder=folder), data_dir=None, home=tmp_path) == Path(expected)


def test_the_folder_is_no_part_of_the_pictures(monkeypatch, tmp_path):
    monkeypatch.delenv(DATA_DIR_VARIABLE, raising=False)
    write_pictures(tmp_path / "pictures", train={"a": 2, "b": 2}, test={"a": 1, "b": 1}, width=8, height=8)
    data = DataSpec(name="images", folder="pictures", size=8)
    found = load_dataset(data, data_dir=place_of(data, data_dir=None, home=tmp_path))
    bare = load_dataset(DataSpec(name="images", size=8), data_dir=tmp_path / "pictures")
    assert found.fingerprint == bare.fingerprint


def test_a_spec_runs_from_its_folder_and_its_run_is_verified_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.delenv(DATA_DIR_VARIABLE, raising=False)
    write_pictures(tmp_path / "specs/pictures", train={"a": 8, "b": 8}, test={"a": 2, "b": 2}, width=8, height=8)
    (tmp_path / "specs/folder.yaml").write_text(
        "version: 1\nname: folder\ndata: {name: images, folder: pictures, size: 8}\n"
        "models: [{name: dnn, kind: dnn, widths: [6, 2]}]\ncompute: {threads: 1}\n"
        "training: {batch_size: 8, warmup_steps: 0, max_epochs: 3, stop: {at: never}}\n"
        "surfaces: [{name: one, grid: {K: 2}}]\n"
    )
    monkeypatch.chdir(tmp_path)
    run = tmrepro.run("specs/folder.yaml").run
    monkeypatch.chdir("/")
    assert tmrepro.open_run(tmp_path / run).inputs().shape == (16, 3, 8, 8)
    assert tmrepro.open_run(tmp_path / run).provenance["data"]["home"] == "../../specs"


def test_digits_have_no_folder():
    with pytest.raises(SpecError, match=r"3:22: data\.folder: digits come with scikit-learn; leave it out"):
        parse_spec("version: 1\nname: a\ndata: {name: digits, folder: x}\n")
