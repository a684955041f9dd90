"""What is written down of code: read warily, since it may come from anybody, and compared in words."""

from __future__ import annotations

from typing import Any

import pytest

from tmrepro.errors import DamagedError
from tmrepro.usercode import CodeRecord, code_from, file_changes, version_changes
from tmrepro.usercode.record import ENTRIES_LIMIT, NAME_LIMIT

A, B = "a" * 64, "b" * 64


def test_a_record_is_read_as_it_was_written():
    record = CodeRecord({"helpers/act.py": A}, {"torch": "2.0"}, ("note",))
    assert code_from(record.document(), name="x") == record


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "x",
        {},
        {"files": {}},
        {"files": {}, "distributions": {}, "more": {}},
        {"files": [], "distributions": {}},
        {"files": {"a.py": 1}, "distributions": {}},
        {"files": {"a.py": A.upper()}, "distributions": {}},
        {"files": {"a.py": A + "\n"}, "distributions": {}},
        {"files": {"": A}, "distributions": {}},
        {"files": {"a.py": A}, "distributions": {"torch": None}},
        {"files": {"a.py": A}, "distributions": {"torch": {}}},
        {"files": {"a.py": A}, "distributions": {"torch": ""}},
    ],
)
def test_what_is_no_record_is_damaged(document: Any):
    with pytest.raises(DamagedError, match=r"^here"):
        code_from(document, name="here")


@pytest.mark.parametrize("part", ["files", "distributions"])
def test_limits_of_a_record(part: str):
    def document(*, entries: int = 1, name: int = 5, text: int = 64) -> dict[str, dict[str, str]]:
        names = [f"{n:0{name}d}" for n in range(entries)]
        return {"files": {}, "distributions": {}, part: dict.fromkeys(names, "a" * text)}

    code_from(document(entries=ENTRIES_LIMIT, name=5), name="here")
    code_from(document(name=NAME_LIMIT), name="here")
    too_much = [document(entries=ENTRIES_LIMIT + 1), document(name=NAME_LIMIT + 1), document(text=NAME_LIMIT + 1)]
    if part == "distributions":
        code_from(document(text=NAME_LIMIT), name="here")
    for one in too_much:
        with pytest.raises(DamagedError, match=f"here.{part}"):
            code_from(one, name="here")


def test_changes_are_told_file_by_file():
    here, there = CodeRecord({"a.py": A, "b.py": A, "c.py": A}, {}), CodeRecord({"a.py": A, "b.py": B, "d.py": A}, {})
    assert list(file_changes(here, there)) == [
        f"b.py differs (SHA-256 {A[:16]} here, {B[:16]} there)",
        "c.py is code here only",
        "d.py is code there only",
    ]
    assert list(file_changes(here, here)) == []


def test_changes_of_versions_are_told_with_both():
    here, there = CodeRecord({}, {"x": "1", "y": "1"}), CodeRecord({}, {"x": "2", "z": "1"})
    assert list(version_changes(here, there)) == [
        ("x", "x 1 here, 2 there"),
        ("y", "y 1 here, not imported there"),
        ("z", "z not imported here, 1 there"),
    ]
