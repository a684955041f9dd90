"""surfaces.zarr: what is written comes back, as xarray and zarr see it too."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from tests.store.small_surfaces import CHUNK, ERROR, FACTS, K, contents, fill, make_grid, values
from tmrepro.records import SurfaceError, SurfaceFacts
from tmrepro.store.surfaces import (
    chunk_slices,
    consolidate,
    create_surface,
    list_surfaces,
    open_surface,
    read_surface,
)


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
