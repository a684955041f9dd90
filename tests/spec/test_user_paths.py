"""Paths as users write them: home folders, and a working directory that is gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tmrepro
from tmrepro.data import load_dataset
from tmrepro.errors import ArtefactError, DataError, UsageError
from tmrepro.spec import parse_spec
from tmrepro.spec.user_paths import user_path

SPEC = "version: 1\nname: mine\ndata: {name: digits}\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_home_folders_are_written_out(home: Path) -> None:
    assert user_path("~/x") == user_path(Path("~/x")) == home / "x"
    assert user_path("~root/x") == Path("~root").expanduser() / "x"
    assert user_path("x/~") == Path("x/~")
    assert user_path("/~/x") == Path("/~/x")


def test_a_file_whose_name_begins_so_is_meant_where_it_is_there(home: Path) -> None:
    (home.parent / "~nobody-of-that-name").touch()
    found = user_path("~nobody-of-that-name")
    assert found == user_path(found) == home.parent / "~nobody-of-that-name"
    assert user_path(user_path("./~/x")) == home.parent / "~" / "x"


@pytest.mark.parametrize("path", ["", "a\0b", "~nobody-of-that-name/x"])
def test_no_path_is_refused(home: Path, path: str) -> None:
    with pytest.raises(UsageError):
        user_path(path)
    assert home.is_dir()


def test_every_function_of_the_api_expands_home_folders(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "mine.yaml").write_text(SPEC, encoding="utf-8")
    spec = tmrepro.load_spec("~/mine.yaml")
    assert spec.name == "mine"
    with pytest.raises(ArtefactError, match=f"{home}/run: not a run folder"):
        tmrepro.open_run("~/run")
    (home / "run").write_text("", encoding="utf-8")
    for call in (lambda: tmrepro.run("~/mine.yaml", out="~/run"), lambda: tmrepro.run(spec, out=Path("~/run"))):
        with pytest.raises(UsageError, match=f"{home}/run is a file"):
            call()
    with pytest.raises(UsageError, match="level integrity needs a run folder"):
        tmrepro.verify("~/mine.yaml", level="integrity")
    monkeypatch.setenv("TMREPRO_DATA", "~/data")
    with pytest.raises(DataError, match=f"{home}/data"):
        load_dataset(parse_spec("version: 1\nname: c\ndata: {name: cifar10}\n").data)


def test_the_api_refuses_in_words_where_the_working_folder_is_gone(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SPEC, encoding="utf-8")
    code = f"""
import os, pathlib
from tmrepro import load_spec, run, verify
import tmrepro
spec = load_spec({str(tmp_path / "mine.yaml")!r})
os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
for call in (lambda: run(spec), lambda: verify("/x"), lambda: tmrepro.open_run("/x"), lambda: tmrepro.loss_surface(None)):
    try:
        call()
    except tmrepro.errors.UsageError as error:
        assert "working directory no longer exists" in str(error)
    else:
        raise AssertionError
"""
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
