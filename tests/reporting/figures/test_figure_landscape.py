"""Figure 1: what is drawn where, and that hard surfaces stay readable."""

from __future__ import annotations

import itertools

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from tests.reporting.figures.panels import make_panel
from tmrepro.reporting.figures import draw_landscape
from tmrepro.reporting.figures.scale import loss_scale
from tmrepro.reporting.figures.style import COLORMAP

LOOK = {"title": "Loss landscape", "directions": "l2-normalised directions", "labels": "relabelled"}


def draw(panels, *, scale="linear", shared=False, **look):
    figure = draw_landscape(panels, scale=scale, shared=shared, **(LOOK | look))
    figure.canvas.draw()
    return figure


def axes_of(figure: Figure, label: str):
    (axes,) = [axes for axes in figure.axes if axes.get_label() == label]
    return axes


def words_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


@pytest.mark.parametrize("shape", [(2, 3), (3, 2)])
def test_a_is_the_horizontal_axis_and_b_the_vertical_one(shape):
    figure = draw([make_panel(lambda a, b: a + 100 * b, shape=shape)])
    map_, solid = axes_of(figure, "map dnn"), axes_of(figure, "solid dnn")
    assert map_.get_xlim() == (0, shape[0] - 1)
    assert map_.get_ylim() == (0, shape[1] - 1)
    assert map_.get_xlabel().startswith("a")
    assert map_.get_ylabel().startswith("b")

    # Every vertex of a line in the map must have the loss that the line stands for, with x as a and y as b.
    lines = [piece for drawn in map_.collections if not drawn.get_facecolor().size for piece in drawn.get_paths()]
    vertices = np.concatenate([path.vertices for path in lines if len(path.vertices)])
    losses = vertices @ [1.0, 100.0]
    assert len(vertices) >= 4
    np.testing.assert_allclose(losses, np.round(losses / 5) * 5, atol=1e-9)
    assert not np.allclose(vertices @ [100.0, 1.0], np.round(vertices @ [100.0, 1.0] / 5) * 5, atol=1e-3)

    (faces,) = [drawn for drawn in solid.collections if isinstance(drawn, Poly3DCollection)]
    corners = np.asarray(faces._faces).reshape(-1, 3)
    np.testing.assert_allclose(corners[:, 2], corners[:, 0] + 100 * corners[:, 1])
    assert solid.get_xlim()[1] == pytest.approx(shape[0] - 1, rel=0.05)


def test_theta_is_marked_where_home_is():
    figure = draw([make_panel(shape=(5, 7), home=(1, 4))])
    (star,) = axes_of(figure, "map dnn").lines
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (0, 0)
    assert axes_of(figure, "map dnn").get_xlim() == (-1, 3)
    assert axes_of(figure, "map dnn").get_ylim() == (-4, 2)
    (star,) = axes_of(figure, "solid dnn").lines
    assert [float(values[0]) for values in star.get_data_3d()] == pytest.approx([0, 0, 0.01])


def test_axes_are_called_distance_only_where_directions_have_unit_norm():
    unit, filtered = make_panel(), make_panel(model="cnn", norm=17.25)
    figure = draw([unit, filtered])
    assert "distance" in axes_of(figure, "map dnn").get_xlabel()
    assert "distance" not in axes_of(figure, "map cnn").get_xlabel()
    assert "17.25" in axes_of(figure, "map cnn").get_xlabel()
    assert "17.25" in axes_of(figure, "map cnn").get_ylabel()


def test_second_axis_counts_shares_of_the_norm_of_theta():
    figure = draw([make_panel(shape=(11, 5), norm=2.0, theta_norm=40.0)])
    above, right = axes_of(figure, "map dnn").child_axes
    assert above.get_xlim() == pytest.approx((0, 10 * 2.0 / 40.0))
    assert right.get_ylim() == pytest.approx((0, 4 * 2.0 / 40.0))


def test_second_axis_is_left_out_where_theta_has_no_norm():
    assert axes_of(draw([make_panel(theta_norm=0.0)]), "map dnn").child_axes == []


def test_shared_scale_gives_all_rows_the_same_colours_and_heights():
    panels = [make_panel(), make_panel(lambda a, b: 5 + a + b, model="cnn")]
    together, apart = draw(panels, shared=True), draw(panels, shared=False)

    def heights(figure):
        return {axes_of(figure, f"solid {model}").get_zlim() for model in ("dnn", "cnn")}

    def colours(figure):
        return {axes_of(figure, f"map {model}").collections[0].get_clim() for model in ("dnn", "cnn")}

    bars = [sum(axes.get_label() == "colour bar" for axes in figure.axes) for figure in (together, apart)]
    assert bars == [1, 2]
    assert (len(heights(together)), len(heights(apart))) == (1, 2)
    assert (len(colours(together)), len(colours(apart))) == (1, 2)
    assert colours(together) == {(0.01, 23.0)}


def test_row_says_what_the_point_is():
    none, collapsed = make_panel(model="cnn", category="none"), make_panel(model="r", category="collapsed")
    words = " | ".join(words_of(draw([make_panel(), none, collapsed])))
    assert "TM (true minimum)" in words
    assert words.count("not a minimum") == 2


@pytest.mark.parametrize(("depth", "said"), [(0.25, True), (0.0, False), (1e-7, False)])
def test_row_says_how_far_its_plane_goes_below_theta_and_not_what_may_be_rounding(depth, said):
    figure = draw([make_panel(lambda a, b: 1 + a + b - (1 + depth) * ((a == 0) & (b == 1)))])
    assert any("lowest point 0.25 below θ*" in word for word in words_of(figure)) == said
    assert any("below θ*" in word for word in words_of(figure)) == said


def test_colour_bar_names_the_unit():
    for scale in ("linear", "log"):
        assert "nats" in axes_of(draw([make_panel()], scale=scale), "colour bar").get_ylabel()


def test_contour_lines_are_labelled():
    labels = {text.get_text() for text in axes_of(draw([make_panel(shape=(21, 19))]), "map dnn").texts}
    assert len(labels) >= 4
    assert all(0 < float(label) < 12 for label in labels)


def test_log_scale_floors_losses_without_a_logarithm_and_says_so():
    figure = draw([make_panel(lambda a, b: np.maximum(0.0, a - 3) * (1 + b))], scale="log")
    label = axes_of(figure, "colour bar").get_ylabel()
    assert "36 losses ≤ 0 drawn at 1" in label  # a = 0, 1, 2, 3 times nine b


def test_points_that_are_not_finite_are_gaps():
    def holed(a, b):
        loss = 1.0 + a + 10 * b
        loss[4:7, 2:5] = np.nan
        loss[9, 7] = np.inf
        return loss

    figure = draw([make_panel(holed)])
    assert any("hatched" in words and "10 points" in words for words in words_of(figure))
    map_ = axes_of(figure, "map dnn")
    assert map_.patch.get_hatch()
    assert not any(path.contains_point((5, 3)) for path in map_.collections[0].get_paths())
    (faces,) = [drawn for drawn in axes_of(figure, "solid dnn").collections if isinstance(drawn, Poly3DCollection)]
    assert len(faces._faces) == 10 * 8 - 4 * 4 - 4
    assert np.isfinite(np.asarray(faces._faces)).all()


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_hard_surfaces_are_drawn(scale, shared):
    def single(a, b):
        return np.where((a == 3) & (b == 3), 1.5, np.nan)

    surfaces = {
        "nothing": lambda a, b: np.nan * (a + b),
        "infinite": lambda a, b: np.inf + 0 * (a + b),
        "constant": lambda a, b: 2.302585 + 0 * (a + b),
        "zero": lambda a, b: 0 * (a + b),
        "negative": lambda a, b: -1.0 - a - b,
        "huge": lambda a, b: 10.0 ** (-6 + 12 * (a + b) / 18),
        "tiny": lambda a, b: 1e-300 * (1 + a + 2 * b),
        "vast": lambda a, b: 1e300 * (1 + a + 2 * b),
        "single": single,
    }
    draw([make_panel(f, model=name) for name, f in surfaces.items()], scale=scale, shared=shared)
    draw([make_panel(shape=(2, 2)), make_panel(shape=(2, 5), model="cnn")], scale=scale, shared=shared)


def test_no_panels_is_an_empty_figure():
    assert draw([], shared=True).axes == []


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_twelve_decades_can_be_read(scale):
    figure = draw([make_panel(lambda a, b: 10.0 ** (-6 + 12 * (a + b) / 18))], scale=scale)
    ticks = [text.get_text() for text in axes_of(figure, "colour bar").get_yticklabels()]
    assert 4 <= len(set(ticks)) == len(ticks) <= 14
    assert all(len(tick) < 8 for tick in ticks)
    assert any("from 10⁻⁶ to 10⁶" in words for words in words_of(figure))


def test_texts_do_not_overlap_and_stay_inside_the_figure():
    panels = [
        make_panel(lambda a, b: 0.01 + np.sin(3.0 * a) ** 2 + np.cos(2.0 * b) ** 2 + (a + b) / 9, model="dnn"),
        make_panel(lambda a, b: 1e5 * (1 + a + b), model="w" * 64 + ".r1", category="collapsed", norm=1234.5),
        make_panel(lambda a, b: 1e-5 * (1 + a * b), model="cnn", home=(5, 4)),
    ]
    for shared in (True, False):
        figure = draw(panels, shared=shared, title="Loss landscape of " + "x" * 200)
        boxes = drawn_boxes(figure)
        assert len(boxes) > 60
        for (first, one), (second, other) in itertools.combinations(boxes, 2):
            # A pixel of two boxes' edges is no overlap; letters do not fill their box.
            assert not one.padded(-1.0).overlaps(other.padded(-1.0)), (first, second)
        for words, box in boxes:
            assert figure.bbox.x0 <= box.x0, words
            assert box.x1 <= figure.bbox.x1, words


def drawn_boxes(figure):
    """Words and boxes of the texts that are drawn; the labels of a 3-D plot turn with the view: they are looked at."""
    flat = [axes for axes in figure.axes if not axes.get_label().startswith("solid")]
    flat += [child for axes in flat for child in axes.child_axes]
    texts = [text for axes in flat for text in (*axes.texts, axes.xaxis.label, axes.yaxis.label)]
    for axis in (axis for axes in flat for axis in (axes.xaxis, axes.yaxis)):
        for tick in axis._update_ticks():  # matplotlib keeps ticks outside the axes too, and does not draw them
            texts += [label for label in (tick.label1, tick.label2) if tick.get_visible() and label.get_visible()]
    texts += figure.texts
    return [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text().strip()]


def test_colour_map_rises_in_luminance_so_that_greyscale_can_be_read():
    red, green, blue, _ = mpl.colormaps[COLORMAP](np.linspace(0, 1, 256)).T
    linear = [np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) for c in (red, green, blue)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert (np.diff(luminance) > 0).all()


def test_large_grid_is_thinned_but_keeps_theta_and_both_ends():
    figure = draw([make_panel(lambda a, b: 1.0 + a + b, shape=(1001, 3), home=(500, 1))])
    map_ = axes_of(figure, "map dnn")
    assert map_.get_xlim() == (-500, 500)
    assert any("one point in 3" in words for words in words_of(figure))
    (faces,) = [drawn for drawn in axes_of(figure, "solid dnn").collections if isinstance(drawn, Poly3DCollection)]
    assert 0.0 in np.asarray(faces._faces)[:, :, 0]
    assert len(faces._faces) < 250


def test_dollar_signs_in_names_are_not_mathematics():
    words = words_of(draw([make_panel()], title=r"cost $\frac{broken$ of it"))
    assert r"cost $\frac{broken$ of it" in words


def test_heights_are_logarithms_and_gaps_stay_gaps():
    loss = np.array([[1.0, 100.0, 0.0], [np.nan, np.inf, 0.01]])
    scale = loss_scale([loss], kind="log")
    np.testing.assert_allclose(scale.heights(loss), [[0, 2, -2], [np.nan, np.nan, -2]])
    assert (scale.low, scale.high, scale.floor, scale.floored) == (-2, 2, 0.01, 1)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize(
    "extremes", [(2e274, -1e308, 9e307), (-1.8e308, 1.0, 5e76), (1e308, 1.7e308, 0.0), (1e308, np.inf, np.nan)]
)
def test_losses_that_no_drawing_can_hold_are_gaps(extremes, scale, shared):
    """As a forged surface may have them."""

    def losses(a, b):
        values = a + 0.5 * b
        values[0, 1], values[2, 2], values[3, 0] = extremes
        return values

    figure = draw([make_panel(losses, shape=(4, 4))], scale=scale, shared=shared)
    assert axes_of(figure, "map dnn").get_xlim() == (0, 3)
    (faces,) = [drawn for drawn in axes_of(figure, "solid dnn").collections if isinstance(drawn, Poly3DCollection)]
    assert np.abs(np.asarray(faces._faces)).max() <= 1e100
