"""surfaces.zarr: what is damaged or hostile is refused."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import pytest

from tests.store.small_surfaces import CHUNK, ERROR, FACTS, fill, make_grid
from tmrepro.errors import DamagedError, UsageError
from tmrepro.store.surfaces import (
    consolidate,
    create_surface,
    list_surfaces,
    open_surface,
    read_surface,
)


@pytest.mark.parametrize(
    "changes",
    [
        {"error_over_bound": "0.1"}, {"error_over_bound": True}, {"error_over_bound": -0.1}, {"error_over_bound": [1]},
        {"error_over_bound": None},  # without a word
        {"error_points": None}, {"error_points": {}}, {"error_points": "0, 0"}, {"error_points": [0, 0]},
        {"error_points": [[0]]}, {"error_points": [[0, 7]]}, {"error_points": [[-1, 0]]}, {"error_points": [[0.5, 0]]},
        {"error_points": [[True, 0]]}, {"error_points": [[0, 0]] * 65},
        {"error_images": -1}, {"error_images": 2**31 + 1}, {"error_images": 1.0}, {"error_images": False},
        {"error_note": 1}, {"error_note": ""}, {"error_note": "x" * 1001}, {"error_more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_hostile_errors_are_refused(tmp_path, changes):
    grid, _ = fill(tmp_path)
    create_surface(tmp_path, "paper", "dnn", grid=grid, chunk=CHUNK, facts=dataclasses.replace(FACTS, error=ERROR))
    path = tmp_path / "surfaces.zarr/paper/dnn/zarr.json"
    document = json.loads(path.read_text())
    document["attributes"] |= changes
    path.write_text(json.dumps(document))
    with pytest.raises(DamagedError, match=r"surfaces.zarr/paper/dnn/zarr.json"):
        read_surface(tmp_path, "paper", "dnn")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_an_error_that_is_no_finite_number_is_refused(tmp_path, number):
    grid, _ = fill(tmp_path)
    create_surface(tmp_path, "paper", "dnn", grid=grid, chunk=CHUNK, facts=dataclasses.replace(FACTS, error=ERROR))
    path = tmp_path / "surfaces.zarr/paper/dnn/zarr.json"
    path.write_text(path.read_text().replace("0.25", number))
    with pytest.raises(DamagedError, match=r"surfaces.zarr/paper/dnn/zarr.json"):
        read_surface(tmp_path, "paper", "dnn")


@pytest.mark.parametrize("missing", ["error_over_bound", "error_points", "error_images"])
def test_half_an_error_is_refused(tmp_path, missing):
    grid, _ = fill(tmp_path)
    create_surface(tmp_path, "paper", "dnn", grid=grid, chunk=CHUNK, facts=dataclasses.replace(FACTS, error=ERROR))
    path = tmp_path / "surfaces.zarr/paper/dnn/zarr.json"
    document = json.loads(path.read_text())
    del document["attributes"][missing]
    path.write_text(json.dumps(document))
    with pytest.raises(DamagedError, match="expected the measured error"):
        read_surface(tmp_path, "paper", "dnn")


@pytest.mark.parametrize("array", ["loss", "accuracy"])
def test_every_flipped_byte_of_a_chunk_is_noticed(tmp_path, array):
    fill(tmp_path)
    relative = f"surfaces.zarr/paper/dnn/{array}/c/1/2"
    path = tmp_path / relative
    good = path.read_bytes()

    for position in range(len(good)):
        for damage in (0x01, 0x80, 0xFF):
            path.write_bytes(good[:position] + bytes([good[position] ^ damage]) + good[position + 1 :])
            assert not open_surface(tmp_path, "paper", "dnn").is_whole((1, 2)), position
    with pytest.raises(DamagedError, match=rf"{relative}: checksum differs .*tmrepro run SPEC --out RUN"):
        read_surface(tmp_path, "paper", "dnn")


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 11, 20])
def test_cut_chunk_is_not_whole(tmp_path, length):
    fill(tmp_path)
    path = tmp_path / "surfaces.zarr/paper/dnn/loss/c/1/2"
    path.write_bytes(path.read_bytes()[:length])

    assert not open_surface(tmp_path, "paper", "dnn").is_whole((1, 2))


def test_missing_chunk_is_named_with_the_remedy(tmp_path):
    fill(tmp_path)
    (tmp_path / "surfaces.zarr/paper/dnn/accuracy/c/2/0").unlink()

    assert not open_surface(tmp_path, "paper", "dnn").is_whole((2, 0))
    with pytest.raises(DamagedError, match=r"surfaces.zarr/paper/dnn/accuracy/c/2/0: missing; run 'tmrepro run"):
        read_surface(tmp_path, "paper", "dnn")


def test_chunk_of_another_size_with_right_checksums_is_refused(tmp_path):
    fill(tmp_path)
    create_surface(tmp_path / "other", "paper", "dnn", grid=make_grid(2), chunk=2, facts=FACTS)
    open_surface(tmp_path / "other", "paper", "dnn").write((0, 0), np.zeros((2, 2)), np.zeros((2, 2)))
    small = (tmp_path / "other/surfaces.zarr/paper/dnn/loss/c/0/0").read_bytes()
    (tmp_path / "surfaces.zarr/paper/dnn/loss/c/0/0").write_bytes(small)

    assert not open_surface(tmp_path, "paper", "dnn").is_whole((0, 0))


def test_chunk_of_wrong_shape_or_index_is_refused(tmp_path):
    create_surface(tmp_path, "paper", "dnn", grid=make_grid(), chunk=CHUNK, facts=FACTS)
    block = np.zeros((1, 3))

    with pytest.raises(ValueError, match=r"expected loss of shape"):
        open_surface(tmp_path, "paper", "dnn").write((0, 2), block, block)
    for index in ((3, 0), (0, -1)):
        with pytest.raises(ValueError, match=r"no chunk"):
            open_surface(tmp_path, "paper", "dnn").write(index, block, block)


def _edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _regular(chunk: int) -> dict[str, object]:
    return {"name": "regular", "configuration": {"chunk_shape": [chunk, chunk]}}


BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


HOSTILE_ARRAYS = {
    "huge": {"shape": [10**9, 10**9]},
    "huge in one chunk": {"shape": [10**9, 10**9], "chunk_grid": _regular(10**9)},
    "negative": {"shape": [-7, -7]},
    "not square": {"shape": [7, 8]},
    "other chunks": {"chunk_grid": _regular(0)},
    "chunks larger than the array": {"chunk_grid": _regular(8)},
    "zarr v2": {"zarr_format": 2},
    "group": {"node_type": "group"},
    "objects": {"data_type": "object"},
    "float32": {"data_type": "float32"},
    "another fill value": {"fill_value": 0.0},
    "swapped": {"dimension_names": ["b", "a"]},
    "unpickling": {"codecs": [{"name": "numcodecs.pickle", "configuration": {}}]},
    "without checksums": {"codecs": [BYTES, {"name": "zstd", "configuration": {"level": 0, "checksum": False}}]},
    "sharded": {"codecs": [{"name": "sharding_indexed", "configuration": {}}]},
    "transformers": {"storage_transformers": [{"name": "x"}]},
    "unknown field": {"surprise": 1},
    "shape of another kind": {"shape": "7"},
}


@pytest.mark.parametrize("changes", HOSTILE_ARRAYS.values(), ids=HOSTILE_ARRAYS.keys())
def test_hostile_array_metadata_is_refused_quickly(tmp_path, changes):
    fill(tmp_path)
    _edit(tmp_path / "surfaces.zarr/paper/dnn/loss/zarr.json", **changes)

    start = time.perf_counter()
    with pytest.raises(DamagedError, match=r"surfaces.zarr/paper/dnn/loss/zarr.json"):
        read_surface(tmp_path, "paper", "dnn")
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        [],
        {"surprise": 1},
        {"home": [0, 7]},
        {"home": [0]},
        {"step": 0},
        {"images": "1024"},
        {"delta": {"seed": 1, "sha256": "ab", "norm": 1.0, "more": 1}},
        {"theta_norm": None},
    ],
)
def test_hostile_attributes_are_refused(tmp_path, attributes):
    fill(tmp_path)
    path = tmp_path / "surfaces.zarr/paper/dnn/zarr.json"
    good = json.loads(path.read_text())["attributes"]
    _edit(path, attributes={**good, **attributes} if attributes else attributes)

    with pytest.raises(DamagedError, match=r"surfaces.zarr/paper/dnn/zarr.json: expected the attributes"):
        read_surface(tmp_path, "paper", "dnn")


def test_consolidated_copy_that_tells_another_story_is_refused(tmp_path):
    fill(tmp_path)
    consolidate(tmp_path)
    path = tmp_path / "surfaces.zarr/zarr.json"
    path.write_text(path.read_text().replace('"theta_norm": 17.25', '"theta_norm": 18.25'))

    with pytest.raises(DamagedError, match=r"copy of paper/dnn/zarr.json differs"):
        read_surface(tmp_path, "paper", "dnn")


@pytest.mark.parametrize("relative", ["paper/dnn/loss/c/0/1", "paper/dnn/loss/c/0", "paper/dnn/zarr.json", "paper"])
def test_links_are_not_followed(tmp_path, relative):
    fill(tmp_path / "run")
    path = tmp_path / "run/surfaces.zarr" / relative
    outside = tmp_path / "outside"
    path.rename(outside)
    path.symlink_to(outside)

    with pytest.raises(DamagedError, match=r"symbolic link"):
        read_surface(tmp_path / "run", "paper", "dnn")
    if relative == "paper":
        with pytest.raises(DamagedError, match=r"symbolic link"):
            list_surfaces(tmp_path / "run")


@pytest.mark.parametrize("name", ["..", "a/b", "", "A", "/etc", "x" * 65, "a\n", "a.r0"])
def test_name_that_no_surface_can_have_is_refused(tmp_path, name):
    fill(tmp_path)

    with pytest.raises(UsageError, match=r"not a valid name of a surface or model"):
        read_surface(tmp_path, name, "dnn")


def test_stray_files_in_the_store_are_refused_when_listing(tmp_path):
    fill(tmp_path)
    assert list_surfaces(tmp_path / "nowhere") == []
    (tmp_path / "surfaces.zarr/notes.txt").write_text("hello")

    with pytest.raises(DamagedError, match=r"surfaces.zarr/notes.txt: expected zarr.json and folders"):
        list_surfaces(tmp_path)
