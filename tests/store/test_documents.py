"""JSON and history.csv: what is written comes back, the same content is the same bytes, nothing else gets in."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrepro.errors import DamagedError
from tmrepro.records import Epoch, History
from tmrepro.store.documents import load_history, parse_json, read_json, save_history, write_json

scalars = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
documents = st.recursive(
    scalars | texts, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("documents")


@given(value=documents)
def test_json_comes_back(folder, value):
    write_json(folder / "a.json", value, work=folder / "work")

    assert read_json(folder / "a.json") == value


def test_json_is_readable_and_ends_with_a_line(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1.5, "a": ["θ*", None]}, work=tmp_path)

    assert (tmp_path / "a.json").read_text(
        encoding="utf-8"
    ) == '{\n  "b": 1.5,\n  "a": [\n    "θ*",\n    null\n  ]\n}\n'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_is_never_written(tmp_path, value):
    with pytest.raises(ValueError, match=r"not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": value}, work=tmp_path)
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "Expecting value"),
        (b'{"a": NaN}', "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"[1e999]", "too large for a number"),
        (b'{"a": 1, "a": 2}', "duplicate key"),
        (b"[" * 100 + b"]" * 100, "more than 64 levels"),
        (b"[" * 100_000, ""),
        (b'{"a": 1} x', "Extra data"),
        (b'"\xff"', "utf-8"),
        (b'\xef\xbb\xbf{"a": 1}', "BOM"),
        (b'["\\ud800"]', "surrogates"),
        (b"[" + b"9" * 5000 + b"]", "too large"),
        (b"[18446744073709551616]", "too large"),
        (b"[" + b"{}," * 2**20 + b"1]", "more than 2097152 values"),
        (b"{'a': 1}", ""),
    ],
)
def test_anything_but_strict_json_is_refused(text, words):
    with pytest.raises(DamagedError, match=rf"(?s)^minimum\.json: expected strict JSON, found: .*{words}"):
        parse_json(text, name="minimum.json")


def test_json_that_is_too_large_is_refused_before_it_is_parsed(tmp_path):
    (tmp_path / "a.json").write_text("[" + "1," * 1000 + "1]")

    with pytest.raises(DamagedError, match=r"a.json: expected at most 100 bytes"):
        read_json(tmp_path / "a.json", limit_bytes=100)


def epochs(*losses: float) -> History:
    rows = [(number, loss, 0.5 + number / 7, loss / 3, 1 / 3, 1e-2 / number) for number, loss in enumerate(losses, 1)]
    return History(tuple(Epoch(*row, seconds=row[0] * 0.1) for row in rows))


@given(st.lists(st.floats(), max_size=5))
def test_history_comes_back_to_the_last_bit(folder, losses):
    history = epochs(*losses)
    save_history(folder / "history.csv", history, work=folder / "work")

    assert repr(load_history(folder / "history.csv")) == repr(history)


def test_history_has_the_columns_and_spells_nan_as_float_reads_it(tmp_path):
    save_history(tmp_path / "history.csv", epochs(0.1, math.nan, math.inf), work=tmp_path)

    header, *rows = (tmp_path / "history.csv").read_text().splitlines()
    assert header == "epoch,train_loss,train_accuracy,validation_loss,validation_accuracy,lr,seconds"
    assert [row.split(",")[1] for row in rows] == ["0.1", "nan", "inf"]
    assert float(rows[2].split(",")[3]) == math.inf


def test_history_of_no_epoch_comes_back(tmp_path):
    save_history(tmp_path / "history.csv", History(()), work=tmp_path)

    assert load_history(tmp_path / "history.csv") == History(())


GOOD = "1,0.1,0.2,0.3,0.4,0.01,5.0"


@pytest.mark.parametrize(
    "row",
    ["", "2" + GOOD[1:], GOOD + ",1.0", "1,0.1", GOOD.replace("0.1", "0.10"), GOOD.replace("0.1", "1_0"), GOOD + "\r",
     GOOD.replace("0.1", " 0.1"), GOOD.replace("0.1", "x"), GOOD.replace("0.1", "-nan"), "1.0" + GOOD[1:]],
)  # fmt: skip
def test_row_that_we_would_not_write_is_refused_with_its_line(tmp_path, row):
    save_history(tmp_path / "history.csv", History(()), work=tmp_path)
    with (tmp_path / "history.csv").open("a", newline="") as file:
        file.write(row + "\n")

    with pytest.raises(DamagedError, match=r"history\.csv:2: expected epoch 1 and 6 numbers"):
        load_history(tmp_path / "history.csv")


def test_other_columns_are_refused(tmp_path):
    (tmp_path / "history.csv").write_bytes(b"epoch,loss\xff\n1,2\n")

    with pytest.raises(DamagedError, match=r"history\.csv:1: expected the columns epoch,train_loss"):
        load_history(tmp_path / "history.csv")
