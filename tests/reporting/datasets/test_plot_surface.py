"""`tmrepro.plot_surface`: what is drawn, where, and with which words."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

import tmrepro
from tmrepro.errors import UsageError
from tmrepro.records import PlanePlace, TrajectoryPoint
from tmrepro.reporting.figures import render

plot_surface = inspect.unwrap(tmrepro.plot_surface)  # as callers have it, without the tests' type checker


def drawn(figure: Figure, label: str = "surface"):
    return next(axes for axes in figure.axes if axes.get_label() == label)


def stars(axes) -> list[tuple[float, float]]:
    lines = [line for line in axes.get_lines() if line.get_marker() == "*"]
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines]


def pixels(figure: Figure) -> np.ndarray:
    FigureCanvasAgg(figure).draw()
    return np.asarray(figure.canvas.buffer_rgba())


def test_contours_with_labels_and_a_star_at_theta(bowl):
    figure = tmrepro.plot_surface(bowl, title="a bowl")
    axes = drawn(figure)
    assert any(isinstance(artist, QuadContourSet) for artist in axes.get_children())
    assert stars(axes) == [(0.0, 0.0)]
    assert axes.get_xlim() == (-1.5, 1.5)
    assert axes.get_ylim() == (-1.0, 1.0)
    assert axes.get_xlabel() == "a: distance along δ̂ in parameter space"
    assert axes.get_ylabel() == "b (‖η̂‖ = 2)"
    assert drawn(figure, "colour bar").get_ylabel() == "loss (nats)"
    assert [text.get_text() for text in figure.texts] == ["a bowl"]
    assert render(figure, "png") == render(tmrepro.plot_surface(bowl, title="a bowl"), "png")


def test_the_axes_are_not_swapped(bowl):
    """The corner (1.5, 1.0) is highest, (-1.5, 1.0) lower: a runs to the right, b upwards."""
    picture = pixels(tmrepro.plot_surface(bowl.drop_attrs(), scale="linear"))
    axes = drawn(tmrepro.plot_surface(bowl.drop_attrs(), scale="linear"))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("a", "b")  # nobody says how long the directions are
    height, width = picture.shape[:2]
    box = axes.get_position()

    def colour(x: float, y: float) -> tuple[int, ...]:
        column, row = (box.x0 + x * box.width) * width, height - (box.y0 + y * box.height) * height
        return tuple(int(value) for value in picture[int(row), int(column)][:3])

    top = tuple(round(255 * value) for value in mpl.colormaps["viridis"](1.0)[:3])
    assert np.abs(np.subtract(colour(0.985, 0.985), top)).max() < 45
    assert np.abs(np.subtract(colour(0.015, 0.985), top)).max() > 45


def test_a_solid_in_three_dimensions(bowl):
    axes = drawn(tmrepro.plot_surface(bowl, "solid"))
    faces = next(artist for artist in axes.get_children() if isinstance(artist, Poly3DCollection))
    assert len(faces.get_facecolor()) == 6 * 4
    assert axes.name == "3d"
    low, high = axes.get_zlim()
    assert (low, high) == (float(bowl.loss.min()), float(bowl.loss.max()))
    assert any(text.get_text() == "loss (nats)" for text in axes.texts)


def test_a_line_with_its_own_words(line):
    axes = drawn(tmrepro.plot_surface(line))
    curve = axes.get_lines()[0]
    assert np.array_equal(curve.get_xdata(), line.a)
    assert np.array_equal(curve.get_ydata(), line.loss)
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "a, distance along direction",
        "mean squared error ((target unit)^2)",
    )
    assert stars(axes) == [(0.0, 1.0)]
    assert axes.get_yscale() == "linear"


def test_the_scale_is_log_where_losses_span_more_than_a_hundred(bowl, line):
    steep = bowl.assign(loss=np.exp(3 * (bowl.loss - 1)))
    assert drawn(tmrepro.plot_surface(steep), "colour bar").get_ylabel() == "loss (nats), log₁₀ scale"
    assert drawn(tmrepro.plot_surface(steep, scale="linear"), "colour bar").get_ylabel() == "loss (nats)"
    assert drawn(tmrepro.plot_surface(line.assign(loss=np.exp(4 * line.loss)))).get_yscale() == "log"
    below = line.assign(loss=line.loss - 5)
    assert drawn(tmrepro.plot_surface(below)).get_yscale() == "linear"
    assert np.isnan(drawn(tmrepro.plot_surface(below, scale="log")).get_lines()[0].get_ydata()).all()


def test_gaps_and_a_plane_without_theta(bowl, line):
    holed = bowl.copy(deep=True)
    holed.loss[0, 0], holed.loss[2, 3] = np.inf, np.nan
    away = bowl.isel(a=slice(4, None))
    for kind in ("contour", "solid"):
        pixels(tmrepro.plot_surface(holed, kind))
        assert stars(drawn(tmrepro.plot_surface(away, kind))) == []
        pixels(tmrepro.plot_surface(bowl * np.nan, kind))
    assert stars(drawn(tmrepro.plot_surface(line.isel(a=slice(4, None))))) == []
    pixels(tmrepro.plot_surface(line * np.nan))


def test_axes_of_ones_own(bowl, line):
    figure = Figure()
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    before = dict(mpl.rcParams)
    assert tmrepro.plot_surface(bowl, ax=left, title="mine") is figure
    assert tmrepro.plot_surface(line, ax=right) is figure
    assert left.get_title() == "mine"
    assert stars(left) == [(0.0, 0.0)]
    assert right.get_lines()
    deep = figure.add_subplot(projection="3d")
    assert tmrepro.plot_surface(bowl, "solid", ax=deep) is figure
    assert dict(mpl.rcParams) == before
    pixels(figure)


PLACES = [(1.5, 1.0), (0.5, 0.25), (0.0, 0.0)]


def path(*names: str) -> xr.Dataset:
    columns = {}
    for name in names:
        ends = ("_1", "_2") if name == "pca" else ("_a", "_b")
        for end, values in zip(ends, zip(*PLACES, strict=True), strict=True):
            columns[f"{name}{end}"] = ("epoch", list(values))
    return xr.Dataset(columns, coords={"epoch": [0, 1, 2]})


@pytest.mark.parametrize("kind", ["contour", "solid"])
@pytest.mark.parametrize(
    ("trajectory", "plane"),
    [
        (path("random"), None),
        (path("random", "pca"), "random"),
        (path("random", "pca"), "pca"),
        (path("pca"), None),
        (
            [TrajectoryPoint(1, None, 0.0, None, None, None, {"paper": PlanePlace(a, b, 0.0)}) for a, b in PLACES],
            "paper",
        ),
    ],
)
def test_the_path_of_training_lies_over_the_surface(bowl, kind, trajectory, plane):
    axes = drawn(tmrepro.plot_surface(bowl, kind, trajectory=trajectory, plane=plane))
    line = next(line for line in axes.get_lines() if line.get_label() == "path")
    data = line.get_data_3d()[:2] if kind == "solid" else line.get_data()
    assert np.allclose(np.transpose(data), PLACES)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"kind": "heatmap"}, "kind: choose one of contour, solid, line .got 'heatmap'"),
        ({"kind": "line"}, "'line' does not fit this Dataset, which is a surface"),
        ({"scale": "cubic"}, "scale: choose one of auto, linear, log"),
        ({"trajectory": path("random", "pca")}, "plane: name the plane of this surface; the path has random, pca"),
        ({"trajectory": path("random"), "plane": "pca"}, "plane: there is no 'pca'; the path has random"),
        ({"trajectory": [1, 2]}, "trajectory: expected the result of Trajectory.dataset"),
        ({"kind": "solid", "ax": Figure().add_subplot()}, "ax: solid needs axes of a 3d projection"),
        ({"ax": Figure().add_subplot(projection="3d")}, "ax: contour needs plane axes"),
    ],
)
def test_what_cannot_be_drawn_is_told_in_words(bowl, asked, words):
    with pytest.raises(UsageError, match=words):
        plot_surface(bowl, **asked)


def test_a_line_takes_no_path_and_a_row_is_no_surface(bowl, line):
    with pytest.raises(UsageError, match="over a surface only, not over a line"):
        tmrepro.plot_surface(line, trajectory=path("random"))
    with pytest.raises(UsageError, match="expected at least 2 x 2 points, got 1 x 5"):
        tmrepro.plot_surface(bowl.isel(a=slice(3, 4)))
    with pytest.raises(UsageError, match="which is a line"):
        tmrepro.plot_surface(line, "contour")


def test_neither_torch_nor_a_window_is_needed(bowl, tmp_path: Path):
    bowl.to_netcdf(tmp_path / "x.nc", engine="scipy")
    program = (
        "import sys, tmrepro, xarray as xr\n"
        f"ds = xr.load_dataset({str(tmp_path / 'x.nc')!r}, engine='scipy')\n"
        "tmrepro.plot_surface(ds).savefig(sys.argv[1]); tmrepro.surface_statistics(ds)\n"
        "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "x.png")], check=True, capture_output=True)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
