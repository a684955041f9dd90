"""surfaces.zarr: what is written comes back, as xarray and zarr see it too; what is damaged or hostile is refused."""

from __future__ import annotations

import dataclasses
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from tmrepro.errors import DamagedError, UsageError
from tmrepro.records import Direction, Grid, SurfaceError, SurfaceFacts
from tmrepro.store.surfaces import (
    chunk_slices,
    consolidate,
    create_surface,
    list_surfaces,
    open_surface,
    read_surface,
)

K, CHUNK = 7, 3
FACTS = SurfaceFacts(
    delta=Direction(seed=1, sha256="ab" * 32, norm=1.0),
    eta=Direction(seed=2, sha256="cd" * 32, norm=1.0),
    cosine=0.00123,
    theta_norm=17.25,
    images=1024,
    labels="relabelled",
)


def make_grid(points: int = K, *, step: float = 0.5) -> Grid:
    """Two axes that differ, so that swapping them shows."""
    return Grid(a=step * np.arange(points), b=step * np.arange(points) - 1.0, home=(0, 2), step=step)


def values(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """f(a, b) = a + 100 b, and something else for the accuracy."""
    loss = grid.a[:, None] + 100 * grid.b[None, :]
    return loss, np.cos(3 * grid.a[:, None] + grid.b[None, :])


def fill(run: Path, *, surface: str = "paper", model: str = "dnn", backwards: bool = False) -> tuple[Grid, np.ndarray]:
    grid = make_grid()
    loss, accuracy = values(grid)
    loss[2, 5], loss[6, 6], loss[0, 6] = np.nan, np.inf, -np.inf
    create_surface(run, surface, model, grid=grid, chunk=CHUNK, facts=FACTS)
    slices = chunk_slices(K, CHUNK)
    for index, i, j in reversed(slices) if backwards else slices:
        open_surface(run, surface, model).write(index, loss[i, j], accuracy[i, j])
    return grid, loss


def contents(run: Path) -> dict[str, bytes]:
    store = run / "surfaces.zarr"
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


ERROR = SurfaceError(0.25, ((0, 2), (6, 6), (3, 1), (1, 5)), 512)


@pytest.mark.parametrize(
    "error", [ERROR, SurfaceError(3.5, ((0, 2),), 7, "é"), SurfaceError(None, (), 0, "no float64")]
)
def test_the_measured_error_comes_last_and_every_chunk_stays(tmp_path, error):
    grid, loss = fill(tmp_path)
    chunks = {path: path.stat().st_ino for path in tmp_path.rglob("c/*/*")}
    assert read_surface(tmp_path, "paper", "dnn")[1].error is None
    measured = dataclasses.replace(FACTS, error=error)

    for facts in (measured, FACTS, measured):  # as in a run that was interrupted right behind it
        create_surface(tmp_path, "paper", "dnn", grid=grid, chunk=CHUNK, facts=facts)
        surface, found, _, _ = read_surface(tmp_path, "paper", "dnn")
        assert found == facts
        np.testing.assert_array_equal(surface.loss, loss)
    assert {path: path.stat().st_ino for path in tmp_path.rglob("c/*/*")} == chunks


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


def test_chunks_cover_the_grid_once_in_row_major_order():
    covered = np.zeros((K, K), dtype=int)
    slices = chunk_slices(K, CHUNK)
    for _, i, j in slices:
        covered[i, j] += 1

    assert np.all(covered == 1)
    assert [index for index, _, _ in slices] == [(ci, cj) for ci in range(3) for cj in range(3)]
    assert slices[5][1:] == (slice(3, 6), slice(6, 7))
    assert chunk_slices(5, 16) == [((0, 0), slice(0, 5), slice(0, 5))]


def test_surface_comes_back_unswapped_with_its_facts(tmp_path):
    grid, loss = fill(tmp_path)

    surface, facts, home, step = read_surface(tmp_path, "paper", "dnn")

    np.testing.assert_array_equal(surface.loss, loss)
    np.testing.assert_array_equal(surface.accuracy, values(grid)[1])
    np.testing.assert_array_equal(surface.a, grid.a)
    np.testing.assert_array_equal(surface.b, grid.b)
    assert (facts, home, step) == (FACTS, grid.home, grid.step)


def test_undefined_cosine_comes_back_as_nan(tmp_path):
    facts = SurfaceFacts(**{**vars(FACTS), "cosine": float("nan")})
    create_surface(tmp_path, "paper", "dnn", grid=make_grid(3), chunk=3, facts=facts)
    open_surface(tmp_path, "paper", "dnn").write((0, 0), np.zeros((3, 3)), np.zeros((3, 3)))

    assert np.isnan(read_surface(tmp_path, "paper", "dnn")[1].cosine)


def test_xarray_opens_it_without_a_warning_and_agrees_on_dimensions(tmp_path):
    grid, loss = fill(tmp_path)
    consolidate(tmp_path)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xr.open_zarr(tmp_path / "surfaces.zarr", group="paper/dnn") as opened:
            assert opened["loss"].dims == ("a", "b")
            assert opened["loss"].sel(a=grid.a[4], b=grid.b[1]).values == loss[4, 1]
            np.testing.assert_array_equal(opened["loss"].values, loss)
            np.testing.assert_array_equal(opened["accuracy"].values, values(grid)[1])
            assert opened.attrs["theta_norm"] == FACTS.theta_norm
            assert opened.attrs["home"] == [0, 2]


def test_chunk_files_are_those_that_zarr_itself_writes(tmp_path):
    fill(tmp_path)
    ours = contents(tmp_path)
    surface = read_surface(tmp_path, "paper", "dnn")[0]

    group = zarr.open_group(tmp_path / "surfaces.zarr", path="paper/dnn", mode="r+")
    for array in ("loss", "accuracy", "a", "b"):
        group[array][...] = getattr(surface, array)

    assert contents(tmp_path) == ours


def test_order_of_chunks_and_of_surfaces_does_not_show_in_the_files(tmp_path):
    runs = {}
    for name, backwards in (("forwards", False), ("backwards", True)):
        surfaces = [("paper", "dnn"), ("paper", "cnn.r1"), ("filter.d1", "dnn")]
        for surface, model in reversed(surfaces) if backwards else surfaces:
            fill(tmp_path / name, surface=surface, model=model, backwards=backwards)
        consolidate(tmp_path / name)
        runs[name] = contents(tmp_path / name)

    assert runs["forwards"] == runs["backwards"]
    assert list_surfaces(tmp_path / "forwards") == [("filter.d1", "dnn"), ("paper", "cnn.r1"), ("paper", "dnn")]


def test_every_nan_is_the_same_nan(tmp_path):
    negative = np.frombuffer(np.array([0xFFF8000000000001], dtype="<u8").tobytes(), dtype="<f8").reshape(1, 1)
    for name, value in (("one", negative), ("other", np.array([[np.nan]]))):
        create_surface(tmp_path / name, "paper", "dnn", grid=make_grid(1), chunk=1, facts=FACTS)
        open_surface(tmp_path / name, "paper", "dnn").write((0, 0), value, value)

    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_chunk_of_nothing_but_nan_is_written_and_whole(tmp_path):
    nothing = np.full((3, 1), np.nan)
    create_surface(tmp_path, "paper", "dnn", grid=make_grid(), chunk=CHUNK, facts=FACTS)
    assert not open_surface(tmp_path, "paper", "dnn").is_whole((0, 2))

    open_surface(tmp_path, "paper", "dnn").write((0, 2), nothing, nothing)

    assert open_surface(tmp_path, "paper", "dnn").is_whole((0, 2))
    assert (tmp_path / "surfaces.zarr/paper/dnn/loss/c/0/2").stat().st_size > 0


def test_nothing_temporary_is_left_in_the_store(tmp_path):
    fill(tmp_path)
    consolidate(tmp_path)

    names = {Path(name).name for name in contents(tmp_path)}
    assert names == {"zarr.json", "0", "1", "2"}
    assert list((tmp_path / ".work/tmp").iterdir()) == []


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


def test_creating_again_keeps_chunks_and_changes_nothing(tmp_path):
    fill(tmp_path)
    consolidate(tmp_path)
    before = contents(tmp_path)

    create_surface(tmp_path, "paper", "dnn", grid=make_grid(), chunk=CHUNK, facts=FACTS)

    assert contents(tmp_path) == before


def test_creating_again_repairs_an_axis_and_keeps_chunks(tmp_path):
    fill(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "surfaces.zarr/paper/dnn/a/c/0").write_bytes(b"?")
    (tmp_path / "surfaces.zarr/zarr.json").write_bytes(b"?")

    create_surface(tmp_path, "paper", "dnn", grid=make_grid(), chunk=CHUNK, facts=FACTS)

    assert contents(tmp_path) == before


def test_creating_another_surface_in_its_place_drops_the_old_chunks(tmp_path):
    fill(tmp_path)
    fill(tmp_path, model="cnn")
    consolidate(tmp_path)

    create_surface(tmp_path, "paper", "dnn", grid=make_grid(step=0.25), chunk=CHUNK, facts=FACTS)

    assert not any(open_surface(tmp_path, "paper", "dnn").is_whole(index) for index, _, _ in chunk_slices(K, CHUNK))
    read_surface(tmp_path, "paper", "cnn")


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
