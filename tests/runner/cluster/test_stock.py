"""What a worker holds, it holds once, by content; and not without end."""

from __future__ import annotations

import hashlib
import os

import pytest

from tmrepro.runner.cluster import stock
from tmrepro.runner.cluster.stock import Stock

ONE, TWO = b"one", b"two"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_view_has_the_files_in_their_places_while_it_is_open(tmp_path):
    held = Stock(tmp_path)
    needs = {"models/dnn/theta.safetensors": digest(ONE), "models/cnn/labels.npy": digest(TWO), "again": digest(ONE)}
    assert held.lacks(needs) == tuple(needs)
    assert held.put(ONE) == digest(ONE)
    assert held.lacks(needs) == ("models/cnn/labels.npy",)
    held.put(TWO)
    assert held.lacks(needs) == ()
    with held.view(needs) as folder:
        assert {path: (folder / path).read_bytes() for path in needs} == {
            "models/dnn/theta.safetensors": ONE,
            "models/cnn/labels.npy": TWO,
            "again": ONE,
        }
    assert not folder.exists()
    assert Stock(tmp_path).lacks(needs) == ()


def test_what_was_used_longest_ago_goes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(stock, "LIMIT_BYTES", 8)
    held = Stock(tmp_path)
    for age, content in ((30, b"aaa"), (10, b"bbb"), (20, b"ccc")):
        held.put(content)
        os.utime(tmp_path / "files" / digest(content), (1000 - age, 1000 - age))
    assert held.lacks({"a": digest(b"aaa")}) == ("a",)  # gone when the third came
    with held.view({"c": digest(b"ccc")}):
        pass
    held.put(b"ddd")
    assert held.lacks({name: digest(name.encode() * 3) for name in "abcd"}) == ("a", "b")


def test_a_file_that_is_larger_than_all_may_be_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(stock, "LIMIT_BYTES", 2)
    held = Stock(tmp_path)
    held.put(ONE)
    assert held.lacks({"one": digest(ONE)}) == ()


def test_a_view_of_what_is_lacking_fails_and_leaves_nothing(tmp_path):
    held = Stock(tmp_path)
    with pytest.raises(FileNotFoundError), held.view({"x": digest(ONE)}):
        pass
    assert list((tmp_path / "views").iterdir()) == []
