"""`tmrepro export`: every format opened by a reader that is not ours, and held against the store bit by bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tmrepro.errors import DamagedError, UsageError
from tmrepro.reporting.export import FORMATS, export_run
from tmrepro.spec.shipped import shipped_reference
from tmrepro.store.finished import read_finished
from tmrepro.store.manifest import check_manifest

QUICKSTART = shipped_reference("quickstart")


def assert_same(found: object, expected: np.ndarray) -> None:
    """Bit by bit, nan included."""
    np.testing.assert_array_equal(np.asarray(found, dtype=np.float64), expected, strict=True)


def test_netcdf_is_read_by_the_c_library(small_run: Path, tmp_path: Path) -> None:
    import netCDF4

    run, path = read_finished(small_run), export_run(small_run, to="netcdf", out=tmp_path / "run.nc")
    with netCDF4.Dataset(path) as file:
        file.set_auto_mask(False)
        assert len(file.spec_hash) == 64
        for surface, model in run.surfaces:
            group, values = file[f"surfaces/{surface}/{model}"], run.surface(surface, model)[0]
            assert group["loss"].dimensions == ("a", "b")
            assert_same(group["loss"][:], values.loss)
            assert_same(group["accuracy"][:], values.accuracy)
            assert_same(group["a"][:], values.a)
            assert group["loss"].units == "nats"
            assert group.statistic_loss_max == run.statistics[surface][model]["loss_max"]
        between = file["surfaces/between/one"]
        assert list(between["mark"][:]) == ["two", "three"]
        places = [point.places["between"] for point in run.trajectory("one")]
        assert_same(between["path_a"][:], np.array([place.a for place in places]))
        training = file["training/two.r1"]
        assert training.category == run.minima["two.r1"].category
        assert_same(training["train_loss"][:], run.history("two.r1").train_losses)


def test_netcdf_is_read_by_xarray_with_its_gaps(odd_reference: Path, tmp_path: Path) -> None:
    import xarray as xr

    path = export_run(odd_reference, to="netcdf", out=tmp_path / "odd.nc")
    with xr.open_dataset(path, group="surfaces/filter/cnn", engine="h5netcdf") as found:
        assert np.isnan(found.loss.values[0, 1])
        assert np.isposinf(found.loss.values[2, 0])
        assert_same(found.loss.values, read_finished(odd_reference).surface("filter", "cnn")[0].loss)


def read_vtk(path: Path, reader: str) -> object:
    from vtkmodules import vtkIOXML

    found = getattr(vtkIOXML, reader)()
    found.SetFileName(str(path))
    found.Update()
    assert found.GetErrorCode() == 0
    return found.GetOutput()


def array(data: object, name: str) -> np.ndarray:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    return vtk_to_numpy(data.GetPointData().GetArray(name))


def points(data: object) -> np.ndarray:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    return vtk_to_numpy(data.GetPoints().GetData())


def test_vtk_reads_surfaces_where_they_are(small_run: Path, tmp_path: Path) -> None:
    run, folder = read_finished(small_run), export_run(small_run, to="vtk", out=tmp_path / "vtk")
    for surface, model in run.surfaces:
        grid, values = (
            read_vtk(folder / surface / f"{model}.vts", "vtkXMLStructuredGridReader"),
            run.surface(surface, model)[0],
        )
        K = len(values.a)
        assert grid.GetExtent() == (0, K - 1, 0, K - 1, 0, 0)
        assert_same(array(grid, "loss").reshape(K, K).T, values.loss)
        assert_same(array(grid, "accuracy").reshape(K, K).T, values.accuracy)
        place = points(grid)[2 + K * 1]  # i = 2, j = 1
        assert tuple(place[:2]) == (values.a[2], values.b[1])
        assert points(grid)[:, 2].argmax() == array(grid, "loss").argmax()
    blocks = read_vtk(folder / "eye.vtm", "vtkXMLMultiBlockDataReader")
    assert blocks.GetNumberOfBlocks() == len(list(folder.glob("*/*.vt?")))


def test_vtk_reads_paths_and_marks_on_the_surface(small_run: Path, tmp_path: Path) -> None:
    run, folder = read_finished(small_run), export_run(small_run, to="vtk", out=tmp_path / "vtk")
    path = read_vtk(folder / "between" / "one.path.vtp", "vtkXMLPolyDataReader")
    places = [point.places["between"] for point in run.trajectory("one")]
    assert path.GetNumberOfLines() == 1
    assert_same(points(path)[:, :2], np.array([(place.a, place.b) for place in places]))
    marks = read_vtk(folder / "between" / "one.marks.vtp", "vtkXMLPolyDataReader")
    stored = run.surface("between", "one")[1].marks
    assert marks.GetNumberOfVerts() == len(stored) == 2
    assert_same(points(marks)[:, :2], np.array([(mark.a, mark.b) for mark in stored]))


def test_vtk_hides_points_that_have_no_height(odd_reference: Path, tmp_path: Path) -> None:
    folder = export_run(odd_reference, to="vtk", out=tmp_path / "vtk")
    grid = read_vtk(folder / "filter" / "cnn.vts", "vtkXMLStructuredGridReader")
    hidden = {index for index in range(121) if not grid.IsPointVisible(index)}
    assert hidden == {0 + 11 * 1, 2 + 11 * 0}
    assert np.isfinite(points(grid)).all()
    assert np.isposinf(array(grid, "loss")[2])


def test_tables_are_read_by_pandas_to_the_last_digit(small_run: Path, tmp_path: Path) -> None:
    run, folder = read_finished(small_run), export_run(small_run, to="csv", out=tmp_path / "csv")

    def read(name: str) -> pd.DataFrame:
        return pd.read_csv(folder / name, engine="python")

    for surface, model in run.surfaces:
        table, values = read(f"surfaces/{surface}/{model}.csv"), run.surface(surface, model)[0]
        assert_same(table.pivot(index="i", columns="j", values="loss").to_numpy(), values.loss)
        assert_same(table.query("j == 0").a.to_numpy(), values.a)
    statistics = read("statistics.csv").set_index(["surface", "network", "statistic"]).value
    assert statistics["between", "one", "loss_max"] == run.statistics["between"]["one"]["loss_max"]
    networks = read("networks.csv").set_index("network")
    assert list(networks.index) == ["one", "one.r1", "two", "two.r1", "three", "three.r1"]
    assert networks.category["one"] == run.minima["one"].category
    history = read("history.csv").query("network == 'two'")
    assert_same(history.train_loss.to_numpy(), run.history("two").train_losses)
    assert len(read("trajectories.csv").query("network == 'one'")) == len(run.trajectory("one"))
    marks = read("marks.csv")[["network", "surface", "mark"]].to_numpy().tolist()
    assert marks == [["one", "between", "two"], ["one", "between", "three"]]
    told = read("columns.csv")
    for path in folder.rglob("*.csv"):
        name = path.relative_to(folder).as_posix()
        name = "surfaces/SURFACE/NETWORK.csv" if name.startswith("surfaces/") else name
        if name != "columns.csv":
            assert set(pd.read_csv(path).columns) <= set(told[told.table == name].name)


def test_tables_have_losses_that_are_not_finite(odd_reference: Path, tmp_path: Path) -> None:
    folder = export_run(odd_reference, to="csv", out=tmp_path / "csv")
    lines = (folder / "surfaces" / "filter" / "cnn.csv").read_text(encoding="ascii").splitlines()
    cells = {tuple(line.split(",")[:2]): line.split(",")[4] for line in lines[1:]}
    assert (cells["0", "1"], cells["2", "0"]) == ("nan", "inf")


def test_a_bag_is_valid_and_holds_the_run(small_run: Path, tmp_path: Path) -> None:
    import bagit

    folder = export_run(small_run, to="bagit", out=tmp_path / "bag")
    bag = bagit.Bag(str(folder))
    bag.validate()
    assert check_manifest(folder / "data") == []
    assert bag.info["Bag-Software-Agent"].startswith("tmrepro ")
    assert bag.info["Run-Data"].startswith("digits")
    theta = folder / "data" / "models" / "one" / "theta.safetensors"
    theta.write_bytes(theta.read_bytes()[:-1] + b"x")
    with pytest.raises(bagit.BagError):
        bag.validate()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_reference_is_exported_without_torch_and_stays_as_it_is(kind: str, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tmrepro.reporting.export import export_run; "
        f"export_run(Path({str(QUICKSTART)!r}), to={kind!r}, out=Path({str(tmp_path / 'out')!r})); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert check_manifest(QUICKSTART) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_nothing_is_written_over(kind: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="already exists"):
        export_run(QUICKSTART, to=kind, out=tmp_path / "out")


def test_wrong_requests_are_refused(odd_reference: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose one of netcdf, vtk, csv, bagit"):
        export_run(QUICKSTART, to="xlsx")
    with pytest.raises(UsageError, match="must match its manifest"):
        export_run(odd_reference, to="csv", out=odd_reference / "csv")
    with pytest.raises(DamagedError, match="not a run or a reference"):
        export_run(tmp_path, to="csv")


def test_what_fails_leaves_nothing(odd_reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tmrepro.reporting.export import bag

    monkeypatch.setattr(bag, "_copy", lambda *_: ("0" * 64, 0))
    with pytest.raises(DamagedError, match="changed during the copy"):
        export_run(odd_reference, to="bagit", out=tmp_path / "bag")
    assert not list(tmp_path.iterdir())
