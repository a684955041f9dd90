"""theta.safetensors and labels.npy: exact, the same bytes for the same content, and nothing that could carry code."""

from __future__ import annotations

import io
import json
import pickle

import numpy as np
import pytest
import safetensors.numpy

from tmrepro.errors import DamagedError
from tmrepro.store.tensors import load_labels, load_tensors, save_labels, save_tensors

THETA = {
    "layers.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bn.num_batches_tracked": np.array(7, dtype=np.int64),
    "bn.running_var": np.array([0.5, np.inf, np.nan], dtype=np.float32),
}


def test_tensors_come_back_exactly_and_writable(tmp_path):
    save_tensors(tmp_path / "theta.safetensors", THETA, work=tmp_path)

    loaded = load_tensors(tmp_path / "theta.safetensors")

    assert loaded.keys() == THETA.keys()
    for name, value in THETA.items():
        assert loaded[name].dtype == value.dtype
        assert loaded[name].shape == value.shape
        np.testing.assert_array_equal(loaded[name], value)
        assert loaded[name].flags.writeable


def test_bytes_do_not_depend_on_the_order_of_keys_or_on_memory_layout(tmp_path):
    save_tensors(tmp_path / "one", THETA, work=tmp_path)
    shuffled = {name: np.asfortranarray(THETA[name]) if THETA[name].ndim else THETA[name] for name in sorted(THETA)}
    save_tensors(tmp_path / "other", shuffled, work=tmp_path)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    np.testing.assert_array_equal(load_tensors(tmp_path / "other")["layers.0.weight"], THETA["layers.0.weight"])


def _safetensors(header: object, content: bytes = b"\0" * 8) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 8,
        b"\xff" * 64,
        pickle.dumps({"theta": 1}),
        _safetensors({"x": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 8]}}),
        _safetensors({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4 * 10**12]}}),
        _safetensors({"x": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}),
        _safetensors({"x": {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}}),
        _safetensors([1]),
        safetensors.numpy.save(THETA)[:-1],
        (2**40).to_bytes(8, "little") + b"{}",
    ],
    ids=range(11),
)
def test_anything_but_a_whole_safetensors_file_is_refused(tmp_path, data):
    (tmp_path / "theta.safetensors").write_bytes(data)

    with pytest.raises(DamagedError, match=r"^models/dnn/theta.safetensors: expected a safetensors file"):
        load_tensors(tmp_path / "theta.safetensors", name="models/dnn/theta.safetensors")


def test_missing_tensors_are_named(tmp_path):
    with pytest.raises(DamagedError, match=r"theta.safetensors: missing"):
        load_tensors(tmp_path / "theta.safetensors")


@pytest.mark.parametrize(
    "labels",
    [
        np.array([3, 0, 9], dtype=np.int64),
        np.array([], dtype=np.int64),
        np.arange(20, dtype=np.float32).reshape(2, 10) / 190,
        np.asfortranarray(np.arange(20, dtype=np.float32).reshape(2, 10)),
    ],
    ids=["hard", "none", "soft", "soft in another memory layout"],
)
def test_labels_come_back_and_numpy_reads_them_too(tmp_path, labels):
    save_labels(tmp_path / "labels.npy", labels, work=tmp_path)

    for loaded in (load_labels(tmp_path / "labels.npy"), np.load(tmp_path / "labels.npy", allow_pickle=False)):
        assert loaded.dtype == labels.dtype
        np.testing.assert_array_equal(loaded, labels)
    assert load_labels(tmp_path / "labels.npy").flags.writeable


def _npy(array: np.ndarray, *, header: str | None = None) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=(1, 0))
    data = buffer.getvalue()
    if header is None:
        return data
    padded = header.encode().ljust(117) + b"\n"
    return data[:8] + len(padded).to_bytes(2, "little") + padded


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        _npy(np.arange(3, dtype=np.int64))[:-1],
        _npy(np.arange(3, dtype=np.int64)) + b"\0",
        _npy(np.arange(3, dtype=np.int32)),
        _npy(np.arange(3, dtype=np.float32)),
        _npy(np.zeros((2, 3), dtype=np.int64)),
        _npy(np.zeros(3, dtype=">i8")),
        _npy(np.asfortranarray(np.zeros((2, 3), dtype=np.float32))),
        _npy(np.array([{}], dtype=object)),
        _npy(np.arange(3), header="{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000,), }"),
        _npy(np.arange(3), header="{'descr': '<i8', 'fortran_order': False, 'shape': (-1,), }"),
        _npy(np.arange(3), header="__import__('os').abort()"),
        _npy(np.arange(3), header="((((((((("),
        pickle.dumps(np.arange(3)),
    ],
    ids=range(15),
)
def test_anything_but_labels_is_refused(tmp_path, data):
    (tmp_path / "labels.npy").write_bytes(data)

    with pytest.raises(DamagedError, match=r"^models/dnn/labels.npy: expected "):
        load_labels(tmp_path / "labels.npy", name="models/dnn/labels.npy")
