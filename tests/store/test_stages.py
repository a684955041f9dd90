"""Stage records: keyed by what they depend on, believed only when they agree with themselves and with the files."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrepro.errors import DamagedError
from tmrepro.store.manifest import file_hashes
from tmrepro.store.stages import (
    StageBook,
    StageRecord,
    damaged_files,
    finished_stages,
    first_changed_input,
    record_from,
    recorded_stages,
    stage_key,
)

INPUTS = {"platform": {"torch": "2", "threads": 1}, "seed": 3}
RECORD = StageRecord(
    name="training/dnn",
    key=stage_key(INPUTS),
    inputs=INPUTS,
    files={"models/dnn/theta.safetensors": "0" * 64},
    facts={"seed": 3},
    seconds=1.5,
    reason="not there yet",
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.dictionaries(st.text(max_size=2), inner, max_size=3),
)
inputs = st.dictionaries(st.text(max_size=2), values, max_size=4)


@given(inputs, inputs)
def test_keys_agree_exactly_where_no_input_changed(new, old):
    assert (stage_key(new) == stage_key(old)) == (first_changed_input(new, old) is None)


def test_key_does_not_depend_on_the_order_of_inputs():
    assert stage_key({"a": 1, "b": {"c": 2, "d": 3}}) == stage_key({"b": {"d": 3, "c": 2}, "a": 1})


@pytest.mark.parametrize(
    ("new", "old", "words"),
    [
        ({"a": {"b": 2}}, {"a": {"b": 3}}, "a.b: 2 here, 3 there"),
        ({"a": 1}, {}, "a is new"),
        ({}, {"a": 1}, "a is removed"),
        ({"a": True}, {"a": 1}, "a: true here, 1 there"),
        ({"a": [1, 2]}, {"a": [1, 3]}, "a: [1, 2] here, [1, 3] there"),
    ],
)
def test_first_changed_input_is_told_in_words(new, old, words):
    assert first_changed_input(new, old) == words


def test_texts_of_another_class_are_the_same_input():
    class Version(str):
        """As torch has one for its version."""

        __slots__ = ()

    assert first_changed_input({"torch": Version("2.14")}, {"torch": "2.14"}) is None


def test_record_comes_back_from_its_book(tmp_path):
    StageBook(tmp_path).put(RECORD)
    assert StageBook(tmp_path).records() == [RECORD]
    assert recorded_stages(tmp_path) == [RECORD]
    book = StageBook(tmp_path)
    book.drop(["training/dnn", "never/was"])
    assert book.get("training/dnn") is None
    assert StageBook(tmp_path).records() == []


def test_record_that_was_tampered_with_is_a_stage_that_is_not_done(tmp_path):
    StageBook(tmp_path).put(RECORD)
    path = next((tmp_path / ".work/stages").iterdir())
    path.write_text(path.read_text().replace('"seed": 3', '"seed": 4'))
    assert StageBook(tmp_path).records() == []


@pytest.mark.parametrize(
    "change",
    [
        {"key": "0" * 64},
        {"name": 5},
        {"files": {"x": 5}},
        {"files": ["x"]},
        {"facts": []},
        {"seconds": "1"},
        {"complete": "yes"},
        {"more": 1},
    ],
)
def test_document_that_is_no_record_is_damage(change):
    with pytest.raises(DamagedError):
        record_from({**asdict(RECORD), **change})


@pytest.mark.parametrize("document", [None, [], "text", {}])
def test_anything_but_a_record_is_damage(document):
    with pytest.raises(DamagedError):
        record_from(document)


def test_stages_of_a_finished_run_are_in_its_provenance(tmp_path):
    (tmp_path / "provenance.json").write_text(json.dumps({"stages": {RECORD.name: asdict(RECORD)}}))
    assert finished_stages(tmp_path) == recorded_stages(tmp_path) == [RECORD]
    (tmp_path / "provenance.json").write_text("[]")
    with pytest.raises(DamagedError, match="found none"):
        finished_stages(tmp_path)


def test_files_that_are_missing_or_changed_are_named(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    record = replace(RECORD, files=file_hashes(tmp_path, ["a", "b", "c"]))
    assert damaged_files(tmp_path, record) == []
    (tmp_path / "a").unlink()
    (tmp_path / "c").write_text("d")
    assert damaged_files(tmp_path, record) == ["a", "c"]
    assert damaged_files(tmp_path, replace(record, files={"../b": "0"})) == ["../b"]
