"""The shipped examples and what `tmrepro new` writes: from spec to verified folder, as they are."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import tmrepro
from tmrepro.api.starter import write_starter
from tmrepro.cli.main import app
from tmrepro.errors import StorageError, UsageError
from tmrepro.spec import load_spec
from tmrepro.spec.shipped import find_spec
from tmrepro.usercode import importable_from

EXAMPLES = Path(__file__).parents[2] / "spec" / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.yaml"))


@pytest.fixture(autouse=True)
def _no_bytecode(monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delenv("TMREPRO_DATA", raising=False)


def test_there_are_examples_of_a_table_and_of_text():
    assert NAMES == ["table_regression", "text_classification"]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_and_its_folder_is_verified(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)  # where the shipped spec, and the module beside it, are found all the same
    spec = find_spec(f"spec/examples/{name}.yaml")
    result = tmrepro.run(f"spec/examples/{name}", out=tmp_path / "run")
    assert [minimum.category for minimum in result.minima.values()] == ["TM"]
    with importable_from(spec.parent):
        verdict = tmrepro.verify(result.run, level="audit", trust_code=True)
    assert verdict.grade == "identical", verdict


def test_new_writes_a_spec_that_runs_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, ["new", "first-try"])
    assert told.exit_code == 0
    assert "next: tmrepro run first-try.yaml" in told.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first-try.npz", "first-try.yaml", "model_first_try.py"]
    result = tmrepro.run("first-try.yaml")
    assert result.minima["mlp"].category == "TM"
    # Modules beside the caller are found where code is trusted, the data by what the run recorded.
    assert tmrepro.verify(result.run, trust_code=True).grade == "identical"


@pytest.mark.parametrize("name", ["123", "true", "1e3", "0x1f", "on", "a-b_c", "class", "a" * 64])
def test_any_name_makes_a_spec_that_can_be_read(tmp_path, name):
    spec, model, data = write_starter(name, folder=tmp_path)
    found = load_spec(spec)
    assert (found.name, found.data.file) == (name, data.name)
    assert found.models[0].factory == f"{model.stem}:network"
    with np.load(data, allow_pickle=False) as arrays:
        assert arrays["train_inputs"].shape == (300, 2)


@pytest.mark.parametrize("name", ["Mine", "", "a b", "../a", "a.b", "-a", "a" * 65, "a\n"])
def test_a_name_that_is_none_writes_nothing(tmp_path, name):
    with pytest.raises(UsageError, match="a name has 1 to 64 of the characters a-z"):
        write_starter(name, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["mine.yaml", "model_mine.py", "mine.npz"])
def test_nothing_is_overwritten(tmp_path, there):
    (tmp_path / there).symlink_to("nowhere")
    with pytest.raises(UsageError, match=f"{there}: already exists and is not overwritten"):
        write_starter("mine", folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(StorageError, match="cannot be written: No such file or directory"):
        write_starter("mine", folder=tmp_path / "none")
