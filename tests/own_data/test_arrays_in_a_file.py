"""A .npz file is read as somebody else's: what is in it is checked before memory is taken, and what is wrong has a name."""

from __future__ import annotations

import contextlib
import io
import os
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tmrepro.data import load_dataset
from tmrepro.data.arrays import EXPANSION_FREE_BYTES
from tmrepro.data.own import fingerprint_of_arrays, own_dataset
from tmrepro.errors import DataError, FieldError
from tmrepro.spec import ArraysSpec

SECTION = ArraysSpec(name="arrays", file="own.npz")
PARTS = (("train_targets", 60), ("validation_targets", 20))


def load(folder):
    return load_dataset(SECTION, data_dir=folder)


def npy(array: np.ndarray, **how) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **how)
    return buffer.getvalue()


def header(shape: str, dtype: str = "<f8") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def archive(path, members: dict[str, bytes], compression=zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_as_they_are_saved(tmp_path, classes, save):
    save(tmp_path / "own.npz", **classes | {"train_inputs": np.asfortranarray(classes["train_inputs"])})
    found = load(tmp_path)
    np.testing.assert_array_equal(found.train.images, classes["train_inputs"].astype(np.float32))
    np.testing.assert_array_equal(found.validation.labels, classes["validation_targets"])
    assert found.train.images.flags.c_contiguous
    assert found.train.images.dtype == np.float32
    assert found.classes == ("0", "1", "2")
    assert (found.signature.shape, found.signature.outputs, found.signature.dtype) == ((4,), (3,), "float32")


def test_fingerprint_is_of_the_numbers_not_of_the_file(tmp_path, classes):
    np.savez(tmp_path / "own.npz", **classes)
    plain = load(tmp_path).fingerprint
    wide = {name: value.astype(">f8" if "inputs" in name else np.uint8) for name, value in classes.items()}
    np.savez_compressed(tmp_path / "own.npz", **wide)
    assert load(tmp_path).fingerprint == plain
    classes["validation_targets"] = classes["validation_targets"][::-1]
    np.savez(tmp_path / "own.npz", **classes)
    assert load(tmp_path).fingerprint != plain


def test_numbers_of_one_column_and_of_a_row_are_the_same(classes):
    one = {name: value if "inputs" in name else value / 2 for name, value in classes.items()}
    column = {name: value if "inputs" in name else value[:, None] for name, value in one.items()}
    datasets = [own_dataset(arrays, at=("data",), where="x", source="x") for arrays in (one, column)]
    assert datasets[0].fingerprint == datasets[1].fingerprint
    assert datasets[0].signature.outputs == (1,)
    assert datasets[0].classes == ()


def test_integers_stay_integers_and_tell_their_range(classes):
    tokens = {name: (value * 3).astype(np.uint16) + 7 if "inputs" in name else value for name, value in classes.items()}
    tokens = {name: np.abs(value) for name, value in tokens.items()}
    found = own_dataset(tokens, at=("data",), where="x", source="x")
    both = np.concatenate([tokens["train_inputs"], tokens["validation_inputs"]])
    assert found.signature.dtype == "int64"
    assert (found.signature.least, found.signature.largest) == (both.min(), both.max())


@given(
    hnp.arrays(
        st.sampled_from([np.float16, np.float64, np.int32, np.uint8, np.bool_, ">i2", ">f4"]),
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=4),
        fill=st.nothing(),
    )
)
@settings(max_examples=40)
def test_any_array_of_finite_numbers_keeps_its_numbers(tmp_path_factory, inputs):
    if inputs.dtype.kind == "f":
        with np.errstate(over="ignore"):
            inputs = np.where(np.isfinite(inputs.astype(np.float32)), inputs, 0).astype(inputs.dtype)
    folder = tmp_path_factory.mktemp("any")
    targets = np.arange(len(inputs), dtype=np.float32)
    np.savez(
        folder / "own.npz",
        train_inputs=inputs, train_targets=targets, validation_inputs=inputs, validation_targets=targets,
    )  # fmt: skip
    found = load(folder)
    np.testing.assert_array_equal(found.train.images, inputs.astype(np.float32) if inputs.dtype.kind == "f" else inputs)
    assert found.fingerprint == fingerprint_of_arrays(found.train, found.validation)


def test_other_arrays_are_left_out_with_a_note_and_never_unpickled(tmp_path, classes):
    np.savez(tmp_path / "own.npz", **classes, more=np.array([object()], dtype=object))
    assert load(tmp_path).notes == ("1 other arrays in the file are left out: 'more'",)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def test_a_pickle_is_refused_and_does_not_run(tmp_path, classes, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "own.npz", **classes | {"train_inputs": np.array([Bomb()] * 60, dtype=object)})
    with pytest.raises(FieldError, match=r"own\.npz: train_inputs has Python objects \(a pickle"):
        load(tmp_path)
    assert not (tmp_path / "unpickled").exists()


def test_one_part_may_lack_a_class(tmp_path, classes):
    np.savez(tmp_path / "own.npz", **(classes | {"train_targets": np.arange(60) % 2 * 2}))
    assert load(tmp_path).signature.classes == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train_targets": None}, "no array 'train_targets'; there are 'train_inputs', 'validation_inputs'"),
        ({"train_targets": np.arange(59) % 3}, "train_inputs has 60 examples, train_targets 59"),
        ({"train_inputs": np.full((60, 4), np.nan)}, r"train_inputs: not finite in float32 at \[0, 0\] \(nan\)"),
        ({"train_inputs": np.full((60, 4), 1e39)}, r"train_inputs: not finite in float32 at \[0, 0\] \(1e\+39\)"),
        ({"validation_inputs": np.zeros((20, 5))}, r"train_inputs are float32 \[4\] each, validation_inputs float32 \[5\]"),
        ({"validation_inputs": np.zeros((20, 4), np.int64)}, "validation_inputs int64"),
        ({part: np.arange(n) % 3 + 1 for part, n in PARTS}, "classes 1, 2, 3; expected 0, 1"),
        ({"train_targets": np.arange(60) % 3 * 2}, "classes 0, 1, 2, 4; expected 0, 1"),
        ({"train_targets": np.arange(60) % 3 - 1}, "classes -1, 0, 1, 2; expected 0, 1"),
        ({"train_targets": np.zeros(60, np.int64)}, "train_targets: only class 0; expected at least two"),
        ({"validation_targets": np.full(20, 4)}, "validation_targets: classes 0, 1, 2, 4; expected 0, 1"),
        ({"validation_targets": np.full(20, -1)}, "validation_targets: classes -1"),
        ({"validation_targets": np.zeros(20)}, "train_targets are int64 .* each, validation_targets float32"),
        ({"train_targets": np.zeros((60, 1), np.int64)}, "integers are classes, of shape"),
        ({"train_targets": np.zeros(60, bool)}, "train_targets: truth values"),
        ({"train_targets": np.array(["a"] * 60)}, "train_targets: dtype <U1; expected real numbers"),
        ({"train_inputs": np.zeros((60, 4), complex)}, "train_inputs: dtype complex128"),
        ({"train_inputs": np.zeros((0, 4)), "train_targets": np.zeros(0)}, "at least one example"),
        ({"train_inputs": np.float64(3)}, "at least one example"),
    ],
)  # fmt: skip
def test_what_is_no_such_data_is_told_with_its_array(tmp_path, classes, change, said):
    arrays = {name: value for name, value in (classes | change).items() if value is not None}
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(FieldError, match=said) as found:
        load(tmp_path)
    assert found.value.location == ("data", "file")
    assert "\n" not in str(found.value)


def test_a_header_that_promises_more_than_there_is_takes_no_memory(tmp_path, classes):
    members = {f"{name}.npy": npy(value) for name, value in classes.items()}
    archive(tmp_path / "own.npz", members | {"train_inputs.npy": header("(1000000000, 1000000)")})
    with pytest.raises(DataError, match=r"train_inputs: the header says float64 \[1000000000, 1000000\]"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no header"),
        (b"\x93NUMPY\x09\x00" + bytes(200), "no header"),
        (header("__import__('os').abort()"), "no header"),
        (header("(-1,)"), "(no header|the header says)"),
        (header("(60, 4)") + bytes(60 * 4 * 8 - 1), "the header says"),
    ],
)
def test_what_is_no_array_is_damage(tmp_path, classes, content, said):
    members = {f"{name}.npy": npy(value) for name, value in classes.items()}
    archive(tmp_path / "own.npz", members | {"train_inputs.npy": content})
    with pytest.raises(DataError, match=said):
        load(tmp_path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, classes):
    members = {f"{name}.npy": npy(value) for name, value in classes.items()}
    size = EXPANSION_FREE_BYTES // 8 + 1
    archive(
        tmp_path / "own.npz",
        members | {"train_inputs.npy": header(f"({size},)") + bytes(8 * size)},
        zipfile.ZIP_DEFLATED,
    )
    with pytest.raises(FieldError, match=r"over 200 times as many; save it without compression"):
        load(tmp_path)


def test_damage_anywhere_is_an_error_of_ours(tmp_path, classes):
    path = tmp_path / "own.npz"
    np.savez_compressed(path, **classes)
    whole = path.read_bytes()
    for at in range(0, len(whole), 41):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        with contextlib.suppress(DataError, FieldError):  # whatever else comes is a bug
            load(tmp_path)
    for end in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError):
            load(tmp_path)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "own.npz")
    with pytest.raises(DataError, match="not a regular file"):
        load(tmp_path)
    (tmp_path / "own.npz").unlink()
    with pytest.raises(DataError, match="No such file"):
        load(tmp_path)
